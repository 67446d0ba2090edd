"""A storage that is full or unavailable: requests are refused with 503, nothing is lost, and work continues afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, free_port, processes_with, wait_until
from harness.disk import fill, full_disk, needs_a_full_disk, needs_mounts, small_disk
from harness.server import API
from harness.sidecar import RunningSidecar

pytestmark = [pytest.mark.slow, needs_a_full_disk]

JOB = {
    "name": "j",
    "model": {"url": "http://model.test/v1", "name": "m"},
    "benchmarks": [{"id": "b", "provider_id": "scripted"}],
}
PROVIDER = {"name": "p", "runtime": {"local": {"command": "true"}}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("outage")
    config = Config(folder / "config", supervisor={"stop_grace": "300ms"})
    config.scripted("say:hello", "running", "say:ready", "hang")
    config.scripted("running", "say:ready", f"await:{folder}/config/gate", "completed", provider_id="gated")
    config.scripted("completed", provider_id="quick")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running
    assert processes_with(str(folder)) == []


def running_job(server: RunningServer, provider: str = "scripted") -> str:
    job_id = server.submit(provider=provider)
    wait_until(lambda: "ready" in server.logs(job_id), "the adapter's last step")
    return job_id


def test_every_change_is_refused_with_503_on_a_full_disk(server: RunningServer):
    job_id = running_job(server)
    provider = server.call("POST", f"{API}/providers", PROVIDER).body["resource"]["id"]
    requests: tuple[tuple[str, str, Any], ...] = (
        ("POST", f"{API}/jobs", JOB),
        ("POST", f"{API}/providers", PROVIDER),
        ("PUT", f"{API}/providers/{provider}", PROVIDER),
        ("PATCH", f"{API}/providers/{provider}", {"name": "q"}),
        ("DELETE", f"{API}/providers/{provider}", None),
        ("POST", f"{API}/collections", {"name": "c", "category": "x", "benchmarks": JOB["benchmarks"]}),
    )
    with full_disk(server.pid):
        assert server.report(job_id, "running", benchmark="another").status == 404
        assert server.report("no-such-job", "running").status == 404
        answers = [server.call(*request) for request in requests]
        answers.append(server.report(job_id, "running", phase="loading_data"))
        jobs = server.get(f"{API}/jobs?status=running")
        assert server.get(f"{API}/providers/{provider}")["name"] == "p"
    for answer in answers:
        assert answer.refusal == (503, "database_operation_failed")
        assert "disk" in answer.body["message"]
        assert answer.body["detail"] == answer.body["message"]
    assert [job["resource"]["id"] for job in jobs["items"]] == [job_id]
    assert server.get(f"{API}/providers?scope=tenant")["total_count"] == 1
    assert server.report(job_id, "running", phase="loading_data").status == 204
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


def test_a_sidecar_keeps_a_result_until_the_disk_has_space(tmp_path: Path):
    port, gate = free_port(), tmp_path / "gate"
    hub = {"base_url": f"http://localhost:{port}"}
    with RunningSidecar(tmp_path / "sidecar", {"local_mode": True, "eval_hub": hub}) as sidecar:
        config = Config(
            tmp_path / "config",
            sidecar={"local_mode": True, "base_url": sidecar.url},
            supervisor={"exit_grace": "100ms"},
        )
        config.scripted("running", "say:ready", f"await:{gate}", 'completed:{"acc": 0.75}', "say:reported")
        with RunningServer(config.folder, data_dir=tmp_path / "data", port=port) as server:
            job_id = running_job(server)
            with full_disk(server.pid):
                gate.touch()
                wait_until(lambda: "reported" in server.logs(job_id), "the report")
                wait_until(lambda: "Server is unavailable" in sidecar.log_text(), "a refusal")
            job = server.in_state(job_id, "completed")
            # The adapter sees neither a refusal nor a loss.
            assert "event" not in server.logs(job_id)
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75}


def test_a_result_that_could_not_be_stored_is_stored_when_the_disk_has_space(server: RunningServer):
    job_id = running_job(server, "gated")
    with full_disk(server.pid):
        (server.configdir / "gate").touch()
        wait_until(lambda: "event refused 503" in server.logs(job_id), "the refusal")
        wait_until(lambda: processes_with(job_id) == [], "the adapter's end")
        assert server.job(job_id)["status"]["state"] == "running"
    job = server.finished(job_id)
    assert job["status"]["state"] == "completed"
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.5}


def test_a_cancel_that_cannot_be_stored_stops_everything_and_is_stored_later(server: RunningServer):
    job_id = running_job(server)
    with full_disk(server.pid):
        for _ in range(2):
            answer = server.call("DELETE", f"{API}/jobs/{job_id}")
            assert (answer.status, answer.body["message_code"]) == (503, "database_operation_failed")
            assert "All workloads of the job are stopped" in answer.body["message"]
            assert processes_with(job_id) == []
    job = server.in_state(job_id, "cancelled")
    assert job["status"]["benchmarks"][0]["error_message"]["message_code"] == "evaluation_job_cancelled"
    assert "hello" in server.logs(job_id)
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


def test_cancelling_a_finished_job_is_refused_during_an_outage_too(server: RunningServer):
    job_id = server.submit(provider="quick")
    server.finished(job_id)
    with full_disk(server.pid):
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 409
        assert server.call("DELETE", f"{API}/jobs/no-such-job").status == 404
        assert server.call("DELETE", f"{API}/jobs/no-such-job?hard_delete=true").status == 404


def test_waiting_benchmarks_of_a_job_cancelled_during_an_outage_never_start(tmp_path: Path):
    config = Config(tmp_path / "config", supervisor={"stop_grace": "300ms"}, local={"max_parallel": 1})
    config.scripted("running", "say:ready", "hang")
    config.scripted("completed", provider_id="quick")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit("b", "b", "b")
        wait_until(lambda: "ready" in server.logs(job_id), "the adapter's last step")
        after = server.submit(provider="quick")
        with full_disk(server.pid):
            assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 503
        assert server.finished(after)["status"]["state"] == "completed"
        job = server.job(job_id)
        assert {b["status"] for b in job["status"]["benchmarks"]} == {"cancelled"}
        assert [path.name for path in (config.jobs_dir / job_id).iterdir()] == ["0"]


def test_a_delete_that_cannot_be_stored_leaves_only_the_record(server: RunningServer):
    job_id = running_job(server)
    folder = server.configdir / "jobs" / job_id
    assert folder.exists()
    with full_disk(server.pid):
        answer = server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true")
        assert (answer.status, answer.body["message_code"]) == (503, "database_operation_failed")
        assert "its record is not" in answer.body["message"]
        assert processes_with(job_id) == []
        assert not folder.exists()
        assert server.job(job_id)["resource"]["id"] == job_id
    assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
    assert server.call("GET", f"{API}/jobs/{job_id}").status == 404


@needs_mounts
def test_a_delete_frees_the_disk_space_that_it_needs(tmp_path: Path):
    config = Config(tmp_path / "config", local={"jobs_dir": str(tmp_path / "disk" / "jobs")})
    config.scripted("running", "say:ready", "hang")
    with (
        small_disk(tmp_path / "disk") as disk,
        RunningServer(config.folder, data_dir=disk / "data") as server,
    ):
        job_id = running_job(server)
        fill(disk / "jobs" / job_id / "results")
        answer = server.call("POST", f"{API}/jobs", JOB)
        assert answer.status == 503
        assert "Free disk space" in answer.body["message"]
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
        assert server.get(f"{API}/jobs")["total_count"] == 0
        assert server.call("POST", f"{API}/providers", PROVIDER).status == 201


@pytest.mark.parametrize("crash", [True, False])
def test_a_job_cancelled_during_an_outage_does_not_run_after_a_restart(server: RunningServer, crash: bool):
    job_id = running_job(server)
    with full_disk(server.pid):
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 503
        if crash:
            server.kill()
        else:
            assert server.terminate() == 0
    server.start()
    # The cancel is lost, as the 503 implies; the exit of the adapter is detected.
    job = server.finished(job_id)
    assert job["status"]["state"] == "failed"
    assert processes_with(job_id) == []
