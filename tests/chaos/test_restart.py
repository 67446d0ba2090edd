"""Stops and crashes of the server: adapters continue, and no acknowledged change is lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import Config, RunningServer, processes_with, wait_until
from harness.server import API


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def config(tmp_path: Path, gate: Path) -> Config:
    made = Config(
        tmp_path / "config",
        supervisor={"exit_grace": "300ms", "stop_grace": "300ms"},
        local={"max_parallel": 2, "jobs_dir": str(tmp_path / "jobs")},
    )
    made.jobs_dir = tmp_path / "jobs"
    made.scripted("running", "say:ready", f"await:{gate}", "completed")
    made.scripted("running", "say:ready", f"await:{gate}", "exit:3", provider_id="exits")
    made.scripted("running", "say:ready", f"await:{gate}", "completed", "exit:0", provider_id="other")
    made.provider("exec sleep 600", provider_id="silent")
    return made


@pytest.fixture
def server(config: Config, tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        yield running
    # A durable server leaves adapters running when it stops; these must not outlive the tests.
    for pid in processes_with(str(config.jobs_dir)):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(str(config.jobs_dir)), "the end of the adapters left")


def ready(server: RunningServer, job_id: str) -> None:
    wait_until(lambda: "ready" in server.logs(job_id), "a running adapter")


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_running_job_completes_after_a_stop_or_crash_and_a_restart(
    server: RunningServer, gate: Path, how: str
):
    job_id = server.submit()
    ready(server, job_id)
    getattr(server, how)()
    assert processes_with(job_id)
    server.start()
    assert server.job(job_id)["status"]["state"] == "running"
    gate.touch()
    assert server.finished(job_id)["status"]["state"] == "completed"
    wait_until(lambda: not processes_with(job_id), "the adapter's end")


def test_a_job_can_be_cancelled_after_a_crash_of_the_server(server: RunningServer):
    job_id = server.submit()
    ready(server, job_id)
    server.kill()
    server.start()
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    assert processes_with(job_id) == []
    assert server.job(job_id)["status"]["state"] == "cancelled"


def test_an_adapter_without_a_report_is_found_after_a_crash_right_after_its_launch(server: RunningServer):
    job_id = server.submit(provider="silent")
    wait_until(lambda: processes_with(job_id), "a process")
    server.kill()  # its handle is stored after a second
    server.start()
    wait_until(lambda: len(processes_with(job_id)) == 1, "one adapter")
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
    assert processes_with(job_id) == []


def test_the_exit_of_an_adapter_is_detected_after_the_server_was_down(server: RunningServer, gate: Path):
    job_id = server.submit(provider="exits")
    ready(server, job_id)
    server.kill()
    gate.touch()
    wait_until(lambda: not processes_with(job_id), "the adapter's end")
    server.start()
    (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
    assert benchmark["status"] == "failed"
    assert "exit code 3" in benchmark["error_message"]["message"]


def test_an_adapter_that_sigterm_ends_together_with_the_server_was_interrupted(server: RunningServer):
    job_id = server.submit()
    ready(server, job_id)
    server.terminate()
    end_adapters(job_id)
    server.start()
    (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
    assert benchmark["error_message"]["message_code"] == "interrupted"


def test_an_adapter_that_sigterm_ends_while_the_server_runs_was_killed(server: RunningServer):
    job_id = server.submit()
    ready(server, job_id)
    end_adapters(job_id)
    (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
    assert benchmark["error_message"]["message_code"] == "adapter_killed"


def test_an_interrupted_adapter_is_started_again_if_this_is_configured(
    config: Config, tmp_path: Path, gate: Path
):
    document = yaml.safe_load((config.folder / "config.yaml").read_text())
    document["supervisor"]["restart_interrupted"] = True
    config.write("config.yaml", document)
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        ready(server, job_id)
        server.terminate()
        end_adapters(job_id)
        server.start()
        benchmark = wait_until(lambda: second_attempt(server, job_id), "the second attempt")
        assert benchmark["warning_message"]["message_code"] == "interrupted"
        gate.touch()
        job = server.finished(job_id)
    assert job["status"]["state"] == "completed"
    (benchmark,) = job["status"]["benchmarks"]
    assert benchmark["attempt"] == 2
    assert "warning_message" not in benchmark


def second_attempt(server: RunningServer, job_id: str) -> dict[str, Any] | None:
    (benchmark,) = server.job(job_id)["status"]["benchmarks"]
    return benchmark if (benchmark["status"], benchmark.get("attempt")) == ("running", 2) else None


def end_adapters(job_id: str) -> None:
    """SIGTERM, as a shutdown of the host sends it."""
    for pid in processes_with(job_id):
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not processes_with(job_id), "the adapter's end")


def test_waiting_benchmarks_start_after_a_restart_in_their_order(server: RunningServer, gate: Path):
    job_id = server.submit("b", "b", "b", "b")
    wait_until(lambda: server.logs(job_id, "?tail_lines=-1").count("ready") == 2, "two running adapters")
    server.kill()
    server.start()
    states = [b["status"] for b in server.job(job_id)["status"]["benchmarks"]]
    assert states == ["running", "running", "pending", "pending"]
    assert len(processes_with(str(gate))) > 0
    gate.touch()
    assert server.finished(job_id)["status"]["state"] == "completed"


def test_deadlines_after_a_restart_do_not_depend_on_the_clock_of_the_host(
    server: RunningServer, gate: Path, tmp_path: Path
):
    job_id = server.submit()
    ready(server, job_id)
    server.kill()
    # As if the clock had been set forward by more than supervisor.run_timeout since the launch.
    with sqlite3.connect(tmp_path / "data" / "evalhub.db") as database:
        for seq, document in database.execute("SELECT seq, doc FROM benchmarks").fetchall():
            benchmark = {**json.loads(document), "launched_at": "2020-01-01T00:00:00Z"}
            database.execute(
                "UPDATE benchmarks SET doc = ? WHERE seq = ?", (json.dumps(benchmark).encode(), seq)
            )
    database.close()
    server.start()
    wait_until(lambda: "Open jobs resumed" in server.log_text(), "the resumed job")
    assert server.job(job_id)["status"]["state"] == "running"
    gate.touch()
    assert server.finished(job_id)["status"]["state"] == "completed"


def test_adapters_that_stay_alive_after_their_result_occupy_no_slot(server: RunningServer, config: Config):
    config.scripted("running", "completed", "hang", provider_id="lingers")
    wait_until(lambda: "lingers" in str(server.get(f"{API}/providers")), "the new provider")
    lingering = server.submit(*"bbbb", provider="lingers")
    assert server.finished(lingering)["status"]["state"] == "completed"
    assert len(processes_with(lingering)) >= 4
    server.kill()
    server.start()
    assert server.finished(server.submit(*"bbb", provider="lingers"))["status"]["state"] == "completed"
    assert len(processes_with(lingering)) >= 4


def test_every_acknowledged_create_survives_a_crash(server: RunningServer):
    acknowledged = [server.submit() for _ in range(20)]
    server.kill()
    server.start()
    listed = server.get(f"{API}/jobs?limit=100")
    assert {item["resource"]["id"] for item in listed["items"]} == set(acknowledged)
    for job_id in acknowledged:
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204


def test_an_idle_or_busy_server_exits_with_status_0_at_once_after_sigterm(server: RunningServer):
    ready(server, server.submit())
    before = time.monotonic()
    assert server.terminate() == 0
    assert time.monotonic() - before < 5, "the SDK's server stop kills after five seconds"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_server_without_a_data_directory_terminates_its_adapters_at_exit(
    config: Config, number: signal.Signals
):
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        ready(server, job_id)
        assert server.process is not None
        server.process.send_signal(number)
        assert server.process.wait(15) == 0
    assert processes_with(str(config.jobs_dir)) == []


def test_a_second_server_on_the_same_data_is_refused(server: RunningServer, config: Config, tmp_path: Path):
    with pytest.raises(AssertionError, match="the server ended with 1"):
        RunningServer(config.folder, data_dir=tmp_path / "data").start()
