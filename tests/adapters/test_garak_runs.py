"""The real garak, offline, on a deterministic endpoint."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, framework_runs
from harness.framework_runs import Framework, Interrupted, stopped_by_sigterm
from harness.model_server import MODEL, ModelServer
from harness.quickstart import CallbackServer, JobDirectory, error_answer
from harness.server import API
from harness.waiting import wait_until

pytestmark = pytest.mark.slow

PROVIDER = "garak"
WAIT_S = 240.0
SCAN = {"num_examples": 3, "generations": 2}


@pytest.fixture(scope="module")
def framework(tmp_path_factory: pytest.TempPathFactory) -> Framework:
    folder = tmp_path_factory.mktemp("garak")
    return framework_runs.framework("garak", "evalhub_adapters.garak_adapter", folder)


@pytest.fixture(scope="module")
def server(framework: Framework, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("server") / "config")
    benchmarks = ("ansiescape", "dan.DanInTheWild", "agent_breaker", "quick")
    config.provider(framework.command, *benchmarks, provider_id=PROVIDER, env=dict(framework.variables))
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def planned(benchmark_id: str, **parameters: Any) -> dict[str, Any]:
    return {"id": benchmark_id, "provider_id": PROVIDER, "parameters": parameters}


@pytest.fixture(scope="module")
def job(server: RunningServer) -> dict[str, Any]:
    benchmarks = [
        planned("ansiescape", **SCAN, unknown=1),
        planned("dan.DanInTheWild", num_examples=2, generations=1),
        planned("agent_breaker"),
        planned("quick"),
    ]
    with ModelServer(answers={"": "Sure: \\x1b[31m is red."}) as model:
        job_id = server.submit(benchmarks=benchmarks, model={"url": model.base, "name": MODEL})
        return server.finished(job_id, WAIT_S)


def result_of(job: dict[str, Any], index: int) -> dict[str, Any]:
    return next(each for each in job["results"]["benchmarks"] if each["benchmark_index"] == index)


def state_of(job: dict[str, Any], index: int) -> dict[str, Any]:
    return next(each for each in job["status"]["benchmarks"] if each["benchmark_index"] == index)


def test_probes_are_scored_by_their_detectors(server: RunningServer, job: dict[str, Any]) -> None:
    result, state = result_of(job, 0), state_of(job, 0)
    assert result["metrics"] == {
        "attack_success_rate": 0.5,
        "ansiescape.AnsiEscaped/ansiescape.Escaped": 1,
        "ansiescape.AnsiRaw/ansiescape.Raw": 0,
    }
    info = result["additional_info"]
    assert info["framework"]["name"] == "garak"
    assert (info["num_samples"], info["requests"], info["reused_requests"]) == (12, 12, 0)
    assert state["progress"]["done"] == state["progress"]["total"] == 12
    assert "unknown" in state["warning_message"]["message"]


def test_each_output_is_a_sample_and_the_report_an_artifact(
    server: RunningServer, job: dict[str, Any]
) -> None:
    url = f"{API}/jobs/{job['resource']['id']}/benchmarks/0"

    def page() -> Any:
        answer = server.call("GET", f"{url}/samples?limit=100")
        return answer.body["items"] if answer.status == 200 and answer.body.get("items") else None

    samples = wait_until(page, "samples", 30)
    assert [sample["outcome"] for sample in samples].count("failed") == 6
    assert {sample["group"] for sample in samples} == {"ansiescape.AnsiEscaped", "ansiescape.AnsiRaw"}
    assert {sample["output"] for sample in samples} == {"Sure: \\x1b[31m is red."}
    names = {each["name"] for each in server.get(f"{url}/artifacts")["items"]}
    assert {"garak.report.html", "garak.report.jsonl", "garak.hitlog.jsonl"} <= names


def test_one_probe_is_a_benchmark(job: dict[str, Any]) -> None:
    assert result_of(job, 1)["metrics"]["dan.DanInTheWild/mitigation.MitigationBypass"] == 1
    assert result_of(job, 1)["additional_info"]["num_samples"] == 2


@pytest.mark.parametrize(
    ("index", "code", "fragment"),
    [
        (2, "job_invalid", "agent_breaker.AgentBreaker"),
        (3, "framework_missing", "the Python package 'torch'"),
    ],
)
def test_what_is_missing_is_named(job: dict[str, Any], index: int, code: str, fragment: str) -> None:
    message = state_of(job, index)["error_message"]
    assert message["message_code"] == code
    assert fragment in message["message"]


def test_a_rerun_sends_only_what_is_missing(server: RunningServer) -> None:
    with ModelServer() as model:
        answers = Interrupted(model, "", 5, lambda: error_answer(401, "out of order"))
        benchmarks = [planned("ansiescape", concurrency=1, **SCAN)]
        job = server.finished(
            server.submit(benchmarks=benchmarks, model={"url": model.base, "name": MODEL}), WAIT_S
        )
        # The first request is the probe.
        assert (
            "failed after 3 requests: it answered 401: out of order"
            in state_of(job, 0)["error_message"]["message"]
        )
        answer = server.call("POST", f"{API}/jobs/{job['resource']['id']}/reruns", {"only": "failed"})
        again = server.finished(answer.body["resource"]["id"], WAIT_S)
    info = result_of(again, 0)["additional_info"]
    assert (info["requests"], info["reused_requests"]) == (12, 3)
    assert answers.questions == 5 + 1 + 9


def test_sigterm_stops_it_with_its_answers(framework: Framework, tmp_path: Path) -> None:
    with CallbackServer() as callback, ModelServer() as model:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
        job.use(model.base, "ansiescape", concurrency=1, limit=3, generations=1)
        job.document["model"]["name"] = MODEL
        stopped_by_sigterm(job, model, "", 4, framework.variables)
    assert len(job.samples) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's table of file locks")
def test_plugins_are_listed_by_one_process_at_a_time(framework: Framework, tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "garak"
    cache.mkdir(parents=True)
    variables = {**framework.variables, "HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    with CallbackServer() as callback, ModelServer() as model, (cache / "evalhub.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=framework.program)
        job.use(model.base, "ansiescape", limit=3, generations=1)
        job.document["model"]["name"] = MODEL
        with job.start(**variables) as process:
            wait_until(lambda: f"FLOCK  ADVISORY  WRITE {process.pid} " in waiting_locks(), "the wait", 120)
            assert not (cache / "resources").exists()
            fcntl.flock(lock, fcntl.LOCK_UN)
            output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, (output, errors)
    assert (cache / "resources" / "plugin_cache.json").exists()


def waiting_locks() -> str:
    """The lines of the kernel's table of file locks that wait for another one."""
    lines = Path("/proc/locks").read_text("ascii").splitlines()
    return "\n".join(line for line in lines if " -> " in line)
