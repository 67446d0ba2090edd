"""Cancel and delete: no process of the job is left running, and a cancel keeps logs and results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.config import steps_command
from harness.server import API


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(tmp_path / "config", supervisor={"stop_grace": "300ms"}, local={"max_parallel": 2})


@pytest.fixture
def server(config: Config) -> Iterator[RunningServer]:
    config.scripted("say:hello", "running", "ignore-term", "helper", "daemon", "say:ready", "hang")
    config.scripted("say:hello", "running", "completed", provider_id="quick")
    with RunningServer(config.folder) as running:
        yield running


def cancel(server: RunningServer, job_id: str, query: str = ""):
    return server.call("DELETE", f"{API}/jobs/{job_id}{query}")


def started(server: RunningServer, *benchmarks: str) -> str:
    job_id = server.submit(*benchmarks)
    wait_until(lambda: "ready" in server.logs(job_id), "the adapter's last step")
    return job_id


def test_cancel_terminates_every_process_of_the_job_and_keeps_its_logs(server: RunningServer, config: Config):
    job_id = started(server)
    assert len(processes_with(job_id)) >= 3
    assert cancel(server, job_id).status == 204
    assert processes_with(job_id) == []
    job = server.job(job_id)
    assert job["status"]["state"] == "cancelled"
    assert job["status"]["benchmarks"][0]["error_message"]["message_code"] == "evaluation_job_cancelled"
    assert "hello" in server.logs(job_id)
    assert server.report(job_id, "completed").status == 409
    assert cancel(server, job_id).status == 204


def test_waiting_benchmarks_of_a_cancelled_job_never_start(server: RunningServer, config: Config):
    names = ("b",) * 5
    job_id = started(server, *names)
    assert cancel(server, job_id).status == 204
    assert {b["status"] for b in server.job(job_id)["status"]["benchmarks"]} == {"cancelled"}
    assert sorted(path.name for path in (config.jobs_dir / job_id).iterdir()) == ["0", "1"]
    after = server.submit(provider="quick")
    assert server.finished(after)["status"]["state"] == "completed"


def test_a_refused_cancel_keeps_logs_and_results(server: RunningServer, config: Config):
    job_id = server.submit(provider="quick")
    server.finished(job_id)
    answer = cancel(server, job_id)
    assert answer.refusal == (409, "job_can_not_be_updated")
    assert answer.body["message"] == f"The job {job_id} can not be cancelled because it is 'completed'."
    assert "hello" in server.logs(job_id)
    assert server.job(job_id)["status"]["state"] == "completed"


def test_an_invalid_parameter_changes_nothing(server: RunningServer):
    job_id = started(server)
    answer = cancel(server, job_id, "?hard_delete=foo")
    assert answer.refusal == (400, "query_parameter_invalid")
    assert server.job(job_id)["status"]["state"] == "running"
    assert len(processes_with(job_id)) >= 3


@pytest.mark.parametrize("running", [True, False])
def test_hard_delete_removes_every_trace(server: RunningServer, config: Config, running: bool):
    job_id = started(server) if running else server.submit(provider="quick")
    if not running:
        server.finished(job_id)
    assert cancel(server, job_id, "?hard_delete=true").status == 204
    assert processes_with(job_id) == []
    assert not (config.jobs_dir / job_id).exists()
    for method, path in [("GET", ""), ("GET", "/logs"), ("DELETE", ""), ("DELETE", "?hard_delete=true")]:
        assert server.call(method, f"{API}/jobs/{job_id}{path}").status == 404


def test_a_benchmark_id_with_dots_stays_below_its_job(tmp_path: Path):
    config = Config(tmp_path / "dotted")
    names = ("../../../escape", "..", "/absolute", "nested/b3", "a/../b")
    config.provider(steps_command("say:here", "completed"), *names)
    before = set(tmp_path.iterdir())
    with RunningServer(config.folder) as server:
        job_id = server.submit(*names)
        assert server.finished(job_id)["status"]["state"] == "completed"
        assert server.logs(job_id).count("here") == len(names)
    assert set(tmp_path.iterdir()) == before
    assert [path.name for path in config.jobs_dir.iterdir()] == [job_id]
    assert (config.jobs_dir / job_id / "3" / "scripted" / "nested" / "b3" / "meta" / "job.json").is_file()
    specs = sorted((config.jobs_dir / job_id).rglob("job.json"))
    assert [spec.relative_to(config.jobs_dir / job_id).parts[0] for spec in specs] == [
        "0",
        "1",
        "2",
        "3",
        "4",
    ]


def test_unknown_jobs_are_404(server: RunningServer):
    for method, path in [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/benchmarks/0/logs")]:
        answer = server.call(method, f"{API}/jobs/nope{path}")
        assert answer.refusal == (404, "resource_not_found")
        assert answer.body["message"] == "The evaluation job resource 'nope' was not found."
