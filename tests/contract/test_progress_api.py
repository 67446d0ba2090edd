"""Progress of benchmarks over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("progress")
    config = Config(folder, service={"port": 0})
    config.provider("sleep 600 # waits for the test's own events", "b")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


def status_of(server: RunningServer, job_id: str) -> dict[str, Any]:
    return server.job(job_id)["status"]["benchmarks"][0]


def test_a_job_shows_the_last_progress_and_preliminary_metrics(server: RunningServer):
    job_id = server.submit("b")
    assert server.report(job_id, "running", progress={"done": 3, "total": 40}).status == 204
    first = status_of(server, job_id)["progress"]
    assert {**first, "reported_at": ""} == {"done": 3, "total": 40, "reported_at": ""}
    progress = {"done": 4.5, "total": 40, "message": "slow"}
    assert server.report(job_id, "running", progress=progress, metrics={"acc": 0.5}).status == 204
    status = status_of(server, job_id)
    assert status["progress"] == {**progress, "reported_at": status["progress"]["reported_at"]}
    assert status["progress"]["reported_at"] > first["reported_at"]
    assert status["running_metrics"] == {"acc": 0.5}
    assert server.job(job_id)["results"] == {}
    server.report(job_id, "completed", metrics={"acc": 0.75})
    job = server.job(job_id)
    assert job["status"]["benchmarks"][0]["progress"] == status["progress"]
    assert "running_metrics" not in job["status"]["benchmarks"][0]
    assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75}


def test_unusable_progress_is_logged_and_never_changes_the_answer(server: RunningServer):
    job_id = server.submit("b")
    for value in ("half", {"done": -1, "total": 2}, [1, 2], {"done": 1}):
        assert server.report(job_id, "running", progress=value).status == 204
    assert "progress" not in status_of(server, job_id)
    noted = [line for line in server.log_lines() if line["msg"] == "Ignored progress of an event"]
    assert [line["reason"] for line in noted if line["job_id"] == job_id] == [
        "it is not an object",
        "its done is not a number of at least 0",
        "it is not an object",
        "its total is not a number of at least 0",
    ]
    assert server.report(job_id, "completed", metrics={"acc": 1.0}, progress="all").status == 204


def test_acknowledged_progress_survives_a_kill(server: RunningServer):
    job_id = server.submit("b")
    for phase in ("loading_data", "running_evaluation"):
        assert server.report(job_id, "running", phase=phase).status == 204
    for done in range(1, 31):
        assert server.report(job_id, "running", progress={"done": done, "total": 40}).status == 204
    before = status_of(server, job_id)["phases"]
    server.kill()
    server.start()
    assert status_of(server, job_id)["progress"]["done"] == 30
    assert status_of(server, job_id)["phases"] == before
    assert [each["phase"] for each in before] == ["loading_data", "running_evaluation"]
    assert before[0]["duration_s"] >= 0
    assert "duration_s" not in before[1]
