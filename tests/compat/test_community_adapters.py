"""Adapters of the community as own providers: a virtual environment of the user, and a framework's command on its ``PATH``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.environments import installed
from harness.frameworks import installed_framework, machine_cache
from harness.model_server import MODEL, ModelServer
from harness.sdk import LOOPBACK_WITHOUT_PROXY, REQUIREMENT, VERSION

pytestmark = pytest.mark.slow

ADAPTER = Path(__file__).parent / "adapter" / "deepeval_command.py"
DEEPEVAL = "deepeval==4.3.1"
GARAK_ADAPTER = "llama-stack-provider-trustyai-garak==0.5.1"
API_KEY = "key-of-the-user"
WAIT_S = 120.0


@pytest.fixture(scope="module")
def venv() -> Path:
    """The SDK, DeepEval, and the garak adapter of the package index, with the garak of the managed environment."""
    # The adapter requires Python 3.12 and Kubeflow's packages for its pipelines; a scan on this computer uses neither.
    name = f"community-{VERSION}-{DEEPEVAL}-{GARAK_ADAPTER}".replace("==", "-")
    folder = installed(machine_cache(), name, REQUIREMENT, DEEPEVAL, alone=[GARAK_ADAPTER])
    garak = Path(installed_framework("garak")["EVALHUB_ADAPTERS_DIR"], "garak", "current").resolve()
    (packages,) = folder.glob("lib/python3.*/site-packages")
    (used,) = garak.glob("lib/python3.*/site-packages")
    (packages / "garak.pth").write_text(f"{used}\n")
    command = folder / "bin" / "garak"
    command.unlink(missing_ok=True)
    command.symlink_to(garak / "bin" / "garak")
    return folder


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("questions")
    rows = ["input,expected_output", "Capital of France?,Paris", "Capital of Japan?,Tokyo", "2 + 2?,4", "-,-"]
    (folder / "questions.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def server(venv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("community")
    config = Config(folder / "config")
    environment = {"venv": str(venv)}
    deepeval = f"python '{ADAPTER}'"
    own_python = f"'{venv / 'bin' / 'python'}' '{ADAPTER}'"
    provider(config, "deepeval", "exact_match", command=deepeval, **environment)
    provider(config, "deepeval-without-venv", "exact_match", command=own_python)
    scan = "python -m llama_stack_provider_trustyai_garak.evalhub"
    provider(config, "trustyai-garak", "ansiescape", command=scan, **environment)
    variables = {**LOOPBACK_WITHOUT_PROXY, "MY_KEY": API_KEY, "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    with RunningServer(config.folder, env=variables) as running:
        yield running


def provider(config: Config, provider_id: str, benchmark_id: str, **local: str) -> None:
    variables = [
        {"name": "JUDGE_API_KEY", "value_from_env": "MY_KEY"},
        {"name": "DEEPEVAL_TELEMETRY_OPT_OUT", "value": "YES"},
    ]
    benchmark = {
        "id": benchmark_id,
        "name": benchmark_id,
        "category": "test",
        "primary_score": {"metric": "exact_match_score"},
        "pass_criteria": {"threshold": 0.5},
    }
    document = {
        "id": provider_id,
        "name": provider_id,
        "runtime": {"local": {**local, "env": variables}},
        "benchmarks": [benchmark],
    }
    config.write(f"providers/{provider_id}.yaml", document)


def finished(
    server: RunningServer, model: ModelServer, provider_id: str, benchmark_id: str, **parameters: Any
) -> dict[str, Any]:
    benchmark = {"id": benchmark_id, "provider_id": provider_id, "parameters": parameters}
    job_id = server.submit(benchmarks=[benchmark], model={"url": model.base, "name": MODEL})
    return server.finished(job_id, WAIT_S)


def test_an_adapter_starts_its_framework_by_the_bare_name_of_the_command(
    server: RunningServer, venv: Path, questions: Path
) -> None:
    with ModelServer(answers={"France": "Paris", "Japan": "Kyoto", "2 + 2": "4"}, api_key=API_KEY) as model:
        job = finished(server, model, "deepeval", "exact_match", data_dir=str(questions), num_examples=3)
    log = server.logs(job["resource"]["id"])
    assert job["status"]["state"] == "completed", log
    (result,) = job["results"]["benchmarks"]
    assert result["metrics"] == {
        "case_0.Exact Match": 1,
        "case_1.Exact Match": 0,
        "case_2.Exact Match": 1,
        "exact_match_score": pytest.approx(2 / 3),
    }
    assert result["test"]["pass"] is True
    assert result["artifacts"]["evalhub.env_card"]["python_version"].startswith("3.")
    assert f"deepeval is {venv}/bin/deepeval" in log
    assert "deepeval: Test run saved at" in log


def test_without_the_environment_the_command_is_not_found(server: RunningServer, questions: Path) -> None:
    with ModelServer(api_key=API_KEY) as model:
        job = finished(server, model, "deepeval-without-venv", "exact_match", data_dir=str(questions))
    (status,) = job["status"]["benchmarks"]
    assert job["status"]["state"] == "failed"
    assert status["error_message"]["message_origin"] == "adapter"
    assert "No such file or directory: 'deepeval'" in status["error_message"]["message"]


def test_the_published_garak_adapter_runs_unchanged(server: RunningServer) -> None:
    parameters = {"probes": "ansiescape.AnsiRaw", "generations": 1}
    with ModelServer(answers={"": "Sure: \\x1b[31m is red."}) as model:
        job = finished(server, model, "trustyai-garak", "ansiescape", **parameters)
    log = server.logs(job["resource"]["id"])
    assert job["status"]["state"] == "completed", log
    (result,) = job["results"]["benchmarks"]
    assert result["metrics"] == {"attack_success_rate": 0, "ansiescape.AnsiRaw_asr": 0}
    assert "garak[stdout]" in log
