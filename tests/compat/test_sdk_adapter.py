"""Adapters written with the SDK, run by the local runtime of a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.sdk import LOOPBACK_WITHOUT_PROXY, Sdk

pytestmark = pytest.mark.slow

ADAPTER = Path(__file__).parent / "adapter"
PHASES = ("initializing", "loading_data", "running_evaluation", "post_processing", "persisting_artifacts")
BENCHMARKS = (
    "plain",
    "timed",
    "rich",
    "raises",
    "reports-and-raises",
    "reports-the-old-way",
    "cannot-be-sent",
)


@pytest.fixture(scope="module")
def config(sdk: Sdk, tmp_path_factory: pytest.TempPathFactory) -> Config:
    made = Config(tmp_path_factory.mktemp("adapter") / "config", supervisor={"exit_grace": "300ms"})
    made.provider(
        f"exec '{sdk.python}' '{ADAPTER / 'main.py'}'",
        *BENCHMARKS,
        provider_id="sdk",
        benchmark={"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.5}},
    )
    made.provider(f"'{sdk.python}' '{ADAPTER / 'missing_dependency.py'}'", provider_id="incomplete")
    return made


@pytest.fixture(scope="module")
def server(
    config: Config, serving: Callable[[Config], AbstractContextManager[RunningServer]]
) -> Iterator[RunningServer]:
    with serving(config) as running:
        yield running


def submit(server: RunningServer, benchmark: str, **fields: Any) -> str:
    """A job over one benchmark; ``fields`` are the benchmark's."""
    return server.submit(benchmarks=[{"id": benchmark, "provider_id": "sdk", **fields}])


def failure(server: RunningServer, job_id: str) -> dict[str, Any]:
    """The only benchmark's status, once it has failed."""
    job = server.finished(job_id)
    assert job["status"]["state"] == "failed"
    (status,) = job["status"]["benchmarks"]
    (result,) = job["results"]["benchmarks"]
    assert "metrics" not in result
    return status


def test_a_result_reaches_the_job_with_its_metrics_and_its_environment_card(server: RunningServer):
    job = server.finished(submit(server, "plain"))
    assert job["status"]["state"] == "completed"
    (status,) = job["status"]["benchmarks"]
    assert (status["status"], status["phase"]) == ("completed", PHASES[-1])
    assert status["completed_at"] == "2026-11-23T03:20:59.597552+00:00"
    assert status["started_at"]
    (result,) = job["results"]["benchmarks"]
    card = result.pop("artifacts").pop("evalhub.env_card")
    assert card["python_version"].startswith("3.")
    assert result == {
        "id": "plain",
        "provider_id": "sdk",
        "benchmark_index": 0,
        "metrics": {"acc": 0.75, "rank": 3, "label": "good", "exact": True},
        "metrics_schema": [{"name": n, "type": "numeric"} for n in ("acc", "exact", "label", "rank")],
        "additional_info": {"dataset_sha": "abc", "shots": [0, 5]},
        "test": {"primary_score": 0.75, "primary_score_metric": "acc", "threshold": 0.5, "pass": True},
    }
    assert job["results"]["test"] == {"score": 0.75, "threshold": 0.5, "pass": True}


def test_each_phase_is_shown_while_it_lasts_and_the_last_one_is_kept(server: RunningServer, tmp_path: Path):
    job_id = submit(server, "timed", parameters={"gates": str(tmp_path)})

    def benchmark() -> dict[str, Any]:
        return server.job(job_id)["status"]["benchmarks"][0]

    started_at = set()
    for phase in PHASES:
        wait_until(lambda phase=phase: benchmark().get("phase") == phase, f"phase {phase}")
        assert benchmark()["status"] == "running"
        started_at.add(benchmark()["started_at"])
        (tmp_path / phase).touch()
    (ended,) = server.finished(job_id)["status"]["benchmarks"]
    assert (ended["status"], ended["phase"]) == ("completed", PHASES[-1])
    assert started_at == {ended["started_at"]}


def test_every_field_of_a_result_is_kept(server: RunningServer, config: Config):
    job_id = submit(server, "rich")
    job = server.finished(job_id)
    assert job["status"]["state"] == "completed"
    (status,) = job["status"]["benchmarks"]
    assert status["warning_message"] == {
        "message": "few examples",
        "message_code": "few",
        "message_origin": "adapter",
    }
    (result,) = job["results"]["benchmarks"]
    schema = {metric["name"]: metric["type"] for metric in result["metrics_schema"]}
    assert schema == {"acc": "numeric", "label": "categorical"}
    assert result["mlflow_run_id"] == "run-1"
    artifacts = result["artifacts"]
    folder = config.jobs_dir / job_id / "0" / "sdk" / "rich" / "results"
    assert artifacts.pop("evalhub.env_card")["os_info"]
    assert artifacts.pop("evalhub.eval_card")["languages"] == ["en"]
    assert artifacts == {
        "folder": str(folder),
        "oci_reference": "quay.test/org/repo@sha256:12",
        "oci_digest": "sha256:12",
    }
    assert (folder / "seen.json").is_file()


def test_the_adapter_reads_the_job_as_it_was_submitted(server: RunningServer, config: Config, tmp_path: Path):
    (tmp_path / "api-key").write_text("s3cret\n")
    model = {"url": "http://model.test/v1", "name": "m", "auth": {"secret_ref": tmp_path.as_uri()}}
    coordinates = {"oci_host": "quay.test", "oci_repository": "org/repo", "annotations": {"a": "1"}}
    first = {"id": "plain", "provider_id": "sdk"}
    second = {
        "id": "rich",
        "provider_id": "sdk",
        "parameters": {"num_examples": 5, "Nested": {"Deep": [1, 2.5, None]}, "big": 12345678901234567890},
        "primary_score": {"metric": "label", "lower_is_better": True},
    }
    exports = {"oci": {"coordinates": coordinates, "k8s": {"connection": "registry"}}}
    job_id = server.submit(benchmarks=[first, second], model=model, exports=exports)
    assert server.finished(job_id)["status"]["state"] == "completed"
    seen = json.loads((config.jobs_dir / job_id / "1" / "sdk" / "rich" / "results" / "seen.json").read_text())
    assert (seen["mode"], seen["api_key"]) == ("local", "s3cret")
    assert seen["spec"] == {
        "id": job_id,
        "provider_id": "sdk",
        "benchmark_id": "rich",
        "benchmark_index": 1,
        "model": model,
        "num_examples": 5,
        "parameters": {"Nested": {"Deep": [1, 2.5, None]}, "big": 12345678901234567890},
        "callback_url": f"http://localhost:{server.port}",
        "exports": {"oci": {"coordinates": {**coordinates, "oci_tag": None}}},
        "primary_score": {"metric": "label", "lower_is_better": True},
        "experiment_name": None,
        "tags": [],
    }
    assert not {"experiment_name", "tags"} & set(seen["given"])


def test_missing_fields_of_a_submission_come_from_the_provider_or_are_absent(
    server: RunningServer, config: Config
):
    job_id = submit(server, "rich")
    server.finished(job_id)
    seen = json.loads((config.jobs_dir / job_id / "0" / "sdk" / "rich" / "results" / "seen.json").read_text())
    assert seen["spec"]["primary_score"] == {"metric": "acc", "lower_is_better": False}
    assert seen["spec"]["parameters"] == {}
    assert seen["api_key"] is None
    assert not {"num_examples", "experiment_name", "tags", "exports"} & set(seen["given"])


def test_an_adapter_that_raises_fails_with_its_exit_code_and_its_traceback(server: RunningServer):
    status = failure(server, submit(server, "raises"))
    error = status["error_message"]
    assert (error["message_code"], error["message_origin"]) == ("adapter_failed", "server")
    assert "exit code 1" in error["message"]
    assert "RuntimeError: the framework gave up" in error["message"]
    assert status["phase"] == PHASES[-1]


@pytest.mark.parametrize("benchmark", ["reports-and-raises", "reports-the-old-way"])
def test_a_failure_that_the_adapter_reported_is_not_replaced(server: RunningServer, benchmark: str):
    status = failure(server, submit(server, benchmark))
    assert status["error_message"] == {
        "message": "no such model",
        "message_code": "model_missing",
        "message_origin": "adapter",
    }
    assert status["completed_at"]


def test_an_adapter_that_exits_before_its_first_report_fails_with_the_cause(server: RunningServer):
    status = failure(server, server.submit(provider="incomplete"))
    error = status["error_message"]
    assert (error["message_code"], error["message_origin"]) == ("adapter_failed", "server")
    assert "No module named 'a_framework_that_is_not_installed'" in error["message"]
    assert status["completed_at"]


def test_a_result_that_the_sdk_cannot_send_fails_with_the_cause(server: RunningServer):
    status = failure(server, submit(server, "cannot-be-sent"))
    error = status["error_message"]
    assert error["message_code"] == "results_not_reported"
    assert "exit code 0 without reporting a result" in error["message"]
    assert "Out of range float values are not JSON compliant" in error["message"]


def test_an_adapter_reports_to_a_server_that_requires_a_token(sdk: Sdk, tmp_path: Path):
    token = "0123456789abcdef0123456789abcdef"
    (tmp_path / "token").write_text(token)
    config = Config(tmp_path / "config", service={"port": 0, "auth_token_file": str(tmp_path / "token")})
    config.provider(f"exec '{sdk.python}' '{ADAPTER / 'main.py'}'", "plain", provider_id="sdk")
    with RunningServer(config.folder, env=LOOPBACK_WITHOUT_PROXY) as server:
        server.headers = {"Authorization": f"Bearer {token}"}
        job = server.finished(submit(server, "plain"))
    assert job["status"]["state"] == "completed"
    assert job["results"]["benchmarks"][0]["metrics"]["acc"] == 0.75
