"""Requests in progress while the server stops."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness import Answer, Config, RunningServer, processes_with, wait_until
from harness.server import API


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "?hard_delete=true"])
@pytest.mark.parametrize("signals", [1, 2])
def test_a_cancel_is_completed_or_answered_with_503(tmp_path: Path, query: str, signals: int):
    config = Config(tmp_path / "config", local={"jobs_dir": str(tmp_path / "jobs")})
    config.provider("trap '' TERM; echo ready; while :; do sleep 1; done")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: "ready" in server.logs(job_id), "the adapter's start")
        answers: list[Answer] = []
        request = threading.Thread(
            target=lambda: answers.append(server.call("DELETE", f"{API}/jobs/{job_id}{query}"))
        )
        request.start()
        server.in_state(job_id, "cancelled")
        for _ in range(signals - 1):
            assert server.process is not None
            server.process.terminate()
            wait_until(lambda: not _listens(server), "the stop")
        assert server.terminate() == 0
        request.join(30)
        (answer,) = answers
        assert answer.status == 204 or answer.refusal == (503, "server_stopping")
        if answer.status == 503:
            assert answer.headers["retry-after"] == "5"
        assert [line for line in server.log_lines() if line["level"] == "error"] == []
        server.start()
        wait_until(lambda: processes_with(str(tmp_path / "jobs")) == [], "the adapter's end")
        repeated = server.call("DELETE", f"{API}/jobs/{job_id}{query}")
        assert repeated.status in (204, 404)


def _listens(server: RunningServer) -> bool:
    try:
        server.call("GET", "/api/v1/health")
    except OSError:
        return False
    return True
