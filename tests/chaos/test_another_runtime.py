"""Benchmarks that were started by a runtime that is no longer selected."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import Config, RunningServer, processes_with, wait_until
from harness.server import API
from harness.site import Site

ECHO = """
from evalhub_server.plugins import Descriptor, NoSettings, hookimpl
from evalhub_server.testing import EchoRuntime

@hookimpl
def evalhub_runtimes():
    return [Descriptor(api=1, name="echo", factory=lambda settings, context: EchoRuntime(), settings=NoSettings)]
"""
SENTENCE = "started by runtime local; select it again"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def config(tmp_path: Path, gate: Path) -> Config:
    made = Config(tmp_path / "config", local={"jobs_dir": str(tmp_path / "jobs")})
    made.jobs_dir = tmp_path / "jobs"
    made.scripted("running", "say:ready", f"await:{gate}", "completed")
    made.scripted("completed", provider_id="quick")
    return made


@pytest.fixture
def server(config: Config, tmp_path: Path) -> Iterator[RunningServer]:
    site = Site(tmp_path / "site")
    site.install("third-echo", ECHO)
    env = {"PYTHONPATH": str(site.folder)}
    with RunningServer(config.folder, data_dir=tmp_path / "data", env=env) as running:
        yield running
    for pid in processes_with(str(config.jobs_dir)):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(str(config.jobs_dir)), "the end of the adapters left")


def restart(server: RunningServer, runtime: str) -> None:
    """Restart the server under another runtime."""
    server.terminate()
    file = server.configdir / "config.yaml"
    sections = yaml.safe_load(file.read_text("utf-8"))
    file.write_text(yaml.safe_dump({**sections, "plugins": {"runtime": runtime}}), "utf-8")
    server.start()


@pytest.fixture
def job_id(server: RunningServer) -> str:
    """A job of the local runtime, on a server that was restarted with the runtime ``echo``."""
    job_id = server.submit()
    wait_until(lambda: "ready" in server.logs(job_id), "a running adapter")
    restart(server, "echo")
    return job_id


def warning(server: RunningServer, job_id: str) -> dict[str, str]:
    (benchmark,) = server.job(job_id)["status"]["benchmarks"]
    return benchmark.get("warning_message", {})


def test_the_benchmark_waits_with_a_notice_and_continues_when_its_runtime_is_selected_again(
    server: RunningServer, job_id: str, gate: Path
):
    assert server.job(job_id)["status"]["state"] == "running"
    assert warning(server, job_id)["message"] == SENTENCE
    assert warning(server, job_id)["message_code"] == "runtime_not_selected"
    (pid,) = {os.getpgid(pid) for pid in processes_with(job_id)}

    other = server.submit()  # jobs of the selected runtime run
    assert server.finished(other)["status"]["state"] == "completed"
    assert server.job(job_id)["status"]["state"] == "running"

    restart(server, "local")
    assert warning(server, job_id) == {}
    assert {os.getpgid(pid) for pid in processes_with(job_id)} == {pid}, "not restarted"
    gate.touch()
    assert server.finished(job_id)["status"]["state"] == "completed"


def test_a_report_is_recorded_while_the_other_runtime_is_selected(
    server: RunningServer, job_id: str, gate: Path
):
    gate.touch()
    assert server.finished(job_id)["status"]["state"] == "completed"
    wait_until(lambda: not processes_with(job_id), "the adapter's end")
    restart(server, "local")
    assert server.job(job_id)["status"]["state"] == "completed"
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204


def test_the_job_can_be_neither_cancelled_nor_deleted(server: RunningServer, job_id: str):
    for query in ("", "?force=true", "?hard_delete=true", "?hard_delete=true&force=false"):
        answer = server.call("DELETE", f"{API}/jobs/{job_id}{query}")
        assert answer.refusal == (409, "job_can_not_be_updated")
        assert SENTENCE in answer.body["message"]
    assert server.job(job_id)["status"]["state"] == "running"
    assert processes_with(job_id)
    restart(server, "local")
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    assert processes_with(job_id) == []


def test_the_log_cannot_be_read(server: RunningServer, job_id: str):
    for path in ("logs", "benchmarks/0/logs"):
        answer = server.call("GET", f"{API}/jobs/{job_id}/{path}")
        assert answer.status == 500
        assert SENTENCE in str(answer.body)


def test_force_removes_the_record_and_logs_what_may_still_run(server: RunningServer, job_id: str):
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true&force=true").status == 204
    assert server.call("GET", f"{API}/jobs/{job_id}").status == 404
    assert processes_with(job_id)
    (line,) = [line for line in server.log_lines() if "may still run" in line["msg"]]
    assert (line["job_id"], line["benchmark_index"], line["runtime"]) == (job_id, 0, "local")
    assert line["handle"]


def test_a_finished_job_of_another_runtime_is_deleted_only_if_forced(server: RunningServer):
    job_id = server.submit(provider="quick")
    server.finished(job_id)
    wait_until(lambda: not processes_with(job_id), "the adapter's end")
    restart(server, "echo")
    refused = server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")
    assert refused.refusal == (409, "job_can_not_be_updated")
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true&force=true").status == 204


def test_force_changes_nothing_for_a_job_of_the_selected_runtime(server: RunningServer):
    job_id = server.submit(provider="quick")
    server.finished(job_id)
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true&force=true").status == 204
    assert not [line for line in server.log_lines() if "may still run" in line["msg"]]
    refused = server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true&force=maybe")
    assert refused.refusal == (400, "query_parameter_invalid")
