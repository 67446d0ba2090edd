"""Exits of adapters, with and without a result, and the resulting state and message of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.config import steps_command


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    made = Config(tmp_path_factory.mktemp("endings"), supervisor={"exit_grace": "300ms", "stop_grace": "1s"})
    made.scripted("say:about to leave", "exit:3", provider_id="exit3")
    made.scripted("running", "say:about to leave", "exit:3", provider_id="running-exit3")
    made.scripted("running", "completed", "exit:3", provider_id="completed-exit3")
    made.scripted("failed:boom", "exit:1", provider_id="failed")
    made.scripted("exit:0", provider_id="silent")
    made.scripted("running", 'completed:{"acc": NaN}', provider_id="nan")
    made.scripted("running", "kill:9", provider_id="killed")
    made.scripted("running", "kill:11", provider_id="crashed")
    made.provider("no-such-command-anywhere", provider_id="notfound")
    made.provider("/etc/passwd", provider_id="notexecutable")
    made.provider(None, provider_id="nolocal")
    made.provider("exit 3", provider_id="plainshell")
    made.provider("", provider_id="empty")
    return made


@pytest.fixture(scope="module")
def server(config: Config) -> Iterator[RunningServer]:
    with RunningServer(config.folder) as running:
        yield running
    assert processes_with(str(config.folder)) == []


def ended(server: RunningServer, provider: str) -> dict[str, Any]:
    """Status of the only benchmark of a finished job, with the job's state under ``job``."""
    job = server.finished(server.submit(provider=provider))
    (benchmark,) = job["status"]["benchmarks"]
    return {**benchmark, "job": job["status"]["state"]}


@pytest.mark.parametrize(
    ("provider", "code", "fragments"),
    [
        ("exit3", "adapter_failed", ["exit code 3", "about to leave"]),
        ("running-exit3", "adapter_failed", ["exit code 3", "about to leave"]),
        ("plainshell", "adapter_failed", ["exit code 3", "The log is empty"]),
        ("silent", "results_not_reported", ["exit code 0 without reporting a result", "callback_url"]),
        ("killed", "adapter_killed", ["SIGKILL", "out of memory"]),
        ("crashed", "adapter_killed", ["SIGSEGV"]),
        ("notfound", "command_not_found", ["exit code 127", "no-such-command-anywhere", "PATH"]),
        ("notexecutable", "command_not_executable", ["exit code 126", "permissions"]),
    ],
)
def test_an_exit_without_a_result_fails_the_benchmark(
    server: RunningServer, provider: str, code: str, fragments: list[str]
):
    benchmark = ended(server, provider)
    assert (benchmark["job"], benchmark["status"]) == ("failed", "failed")
    error = benchmark["error_message"]
    assert (error["message_code"], error["message_origin"]) == (code, "server")
    assert [fragment for fragment in fragments if fragment not in error["message"]] == []
    assert benchmark["completed_at"]


@pytest.mark.parametrize("provider", ["nolocal", "empty"])
def test_a_provider_without_a_local_command_fails_with_the_released_servers_text(
    server: RunningServer, provider: str
):
    error = ended(server, provider)["error_message"]
    assert error["message_code"] == "evaluation_job_failed"
    assert error["message"] == (
        f"Local runtime is not enabled for provider '{provider}'. "
        "Please configure a local runtime command for this provider and try again."
    )


def test_a_result_is_kept_whatever_the_exit_status(server: RunningServer):
    benchmark = ended(server, "completed-exit3")
    assert (benchmark["job"], benchmark["status"]) == ("completed", "completed")
    assert "error_message" not in benchmark


def test_a_failure_message_of_the_adapter_is_kept(server: RunningServer):
    assert ended(server, "failed")["error_message"] == {
        "message": "boom",
        "message_code": "scripted",
        "message_origin": "adapter",
    }


def test_a_result_that_was_refused_is_named_in_the_failure_and_in_the_log(server: RunningServer):
    job_id = server.submit(provider="nan")
    (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
    assert benchmark["error_message"]["message_code"] == "results_not_reported"
    text = "The adapter exited with exit code 0; it reported a result that was refused: metrics.acc is NaN. "
    assert benchmark["error_message"]["message"].startswith(text)
    lines = [line for line in server.log_lines() if job_id in str(line)]
    reasons = {
        line["msg"]: line.get("reason", "") + line.get("error", "") for line in lines if "is NaN" in str(line)
    }
    assert reasons == {
        "Refused event": "metrics.acc is NaN",
        "Request failed": "The request JSON is invalid: 'metrics.acc is NaN'. Please check the request and try again.",
    }


def test_a_late_result_replaces_the_servers_provisional_failure(server: RunningServer):
    job_id = server.submit(provider="silent")
    assert server.finished(job_id)["status"]["state"] == "failed"
    event = {"provider_id": "silent", "id": "b", "benchmark_index": 0}
    path = f"/api/v1/evaluations/jobs/{job_id}/events"
    running = server.call("POST", path, {"benchmark_status_event": {**event, "status": "running"}})
    assert running.refusal == (409, "job_can_not_be_updated")
    completed = {**event, "status": "completed", "metrics": {"acc": 1}}
    assert server.call("POST", path, {"benchmark_status_event": completed}).status == 204
    job = server.job(job_id)
    assert job["status"]["state"] == "completed"
    assert "error_message" not in job["status"]["benchmarks"][0]
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 1}
    assert server.call("POST", path, {"benchmark_status_event": completed}).status == 204
    changed = {**completed, "metrics": {"acc": 0}}
    assert server.call("POST", path, {"benchmark_status_event": changed}).status == 409


def test_processes_that_an_adapter_leaves_running_are_terminated(tmp_path: Path):
    config = Config(tmp_path / "config", supervisor={"stop_grace": "200ms"})
    config.scripted("running", "helper", "daemon", "completed")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        assert server.finished(job_id)["status"]["state"] == "completed"
        wait_until(lambda: not processes_with(str(config.jobs_dir)), "the helpers' end")


def test_an_adapter_that_lingers_after_its_result_is_terminated(tmp_path: Path):
    config = Config(tmp_path / "config", supervisor={"linger": "100ms", "stop_grace": "200ms"})
    config.scripted("completed", "ignore-term", "hang")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        assert server.finished(job_id)["status"]["state"] == "completed"
        wait_until(lambda: not processes_with(str(config.jobs_dir)), "the adapter's end")


@pytest.mark.parametrize(
    ("setting", "steps", "fragment"),
    [
        ("start_timeout", ("hang",), "reported nothing within 0.3 seconds"),
        ("run_timeout", ("running", "hang"), "did not finish within 0.3 seconds"),
    ],
)
def test_an_adapter_that_hangs_is_terminated_at_its_deadline(
    tmp_path: Path, setting: str, steps: tuple[str, ...], fragment: str
):
    config = Config(tmp_path / "config", supervisor={setting: "300ms", "stop_grace": "200ms"})
    config.scripted(*steps)
    with RunningServer(config.folder) as server:
        error = server.finished(server.submit())["status"]["benchmarks"][0]["error_message"]
    assert error["message_code"] == "deadline_exceeded"
    assert fragment in error["message"]
    assert f"supervisor.{setting}" in error["message"]


@pytest.mark.slow
def test_sixty_benchmarks_at_once_all_complete_within_the_limit(tmp_path: Path):
    config = Config(tmp_path / "config", local={"max_parallel": 5})
    gate = tmp_path / "gate"
    names = [f"b{number}" for number in range(60)]
    config.provider(steps_command("running", f"await:{gate}", "completed"), *names)
    with RunningServer(config.folder) as server:
        job_id = server.submit(*names)
        states = wait_until(
            lambda: (
                (s := [b["status"] for b in server.job(job_id)["status"]["benchmarks"]]).count("running") == 5
                and s
            ),
            "five running benchmarks",
        )
        assert states == ["running"] * 5 + ["pending"] * 55
        gate.touch()
        job = server.finished(job_id, timeout_s=120)
    assert job["status"]["state"] == "completed"
    assert [b["benchmark_index"] for b in job["results"]["benchmarks"]] == list(range(60))
