"""A storage that is full or away: everybody is told so, nothing is lost, and when it is back all goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, free_port, wait_until
from harness.disk import full_disk, needs_a_full_disk
from harness.server import API
from harness.sidecar import RunningSidecar

pytestmark = needs_a_full_disk

JOB = {
    "name": "j",
    "model": {"url": "http://model.test/v1", "name": "m"},
    "benchmarks": [{"id": "b", "provider_id": "scripted"}],
}
PROVIDER = {"name": "p", "runtime": {"local": {"command": "true"}}}


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def server(tmp_path: Path, gate: Path) -> Iterator[RunningServer]:
    config = Config(tmp_path / "config", supervisor={"stop_grace": "300ms"})
    config.scripted("say:hello", "running", "say:ready", f"await:{gate}", "completed")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        yield running


def running_job(server: RunningServer) -> str:
    job_id = server.submit()
    wait_until(lambda: "ready" in server.logs(job_id), "the adapter's last step")
    return job_id


def test_a_full_disk_is_503_to_everybody_who_changes_something(server: RunningServer):
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
        answers = [server.call(*request) for request in requests]
        answers.append(server.report(job_id, "running", phase="loading_data"))
        jobs = server.get(f"{API}/jobs")
        assert server.get(f"{API}/providers/{provider}")["name"] == "p"
    for answer in answers:
        assert answer.refusal == (503, "database_operation_failed")
        assert "disk" in answer.body["message"]
        assert answer.body["detail"] == answer.body["message"]
    assert jobs["total_count"] == 1
    assert server.get(f"{API}/providers?scope=tenant")["total_count"] == 1
    assert server.report(job_id, "running", phase="loading_data").status == 204
    assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


def test_a_sidecar_keeps_a_result_until_there_is_room_for_it(tmp_path: Path, gate: Path):
    port = free_port()
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
                wait_until(lambda: "server is away" in sidecar.log_text(), "a refusal")
            job = server.in_state(job_id, "completed")
            assert "event" not in server.logs(
                job_id
            )  # neither refused nor lost, for all that the adapter knows
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75}
