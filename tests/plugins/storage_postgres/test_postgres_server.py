"""A real server process on a real database, configured as the operator does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness import Config, RunningServer, processes_with
from harness.postgres import RunningPostgres
from harness.server import API


@pytest.fixture
def schema(postgres: RunningPostgres) -> str:
    return asyncio.run(postgres.new_schema())


@pytest.fixture
def configured(postgres: RunningPostgres, schema: str, tmp_path: Path) -> Config:
    """The url comes from a secret file."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "db-url").write_text(postgres.url(schema) + "\n")
    return Config(
        tmp_path / "config",
        secrets={"dir": str(tmp_path / "secrets"), "mappings": {"db-url": "database.url"}},
        database={"driver": "pgx", "max_open_conns": 25, "max_idle_conns": 5, "conn_max_lifetime": "30m"},
    )


def test_jobs_survive_a_crash_of_the_server(configured: Config, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    configured.scripted("running", f"await:{gate}", 'completed:{"acc": 0.75, "n": 12345678901234567890}')
    with RunningServer(configured.folder) as server:
        job_id = server.submit(name="kept", tags=["a", "b"])
        server.in_state(job_id, "running")
        server.kill()
        server.start()
        gate.touch()
        job = server.finished(job_id)
        assert job["status"]["state"] == "completed"
        assert job["results"]["benchmarks"][0]["metrics"] == {"acc": 0.75, "n": 12345678901234567890}
        assert server.get(f"{API}/jobs?tags=b&name=kept")["total_count"] == 1
        assert server.get(f"{API}/jobs?tags=c")["total_count"] == 0
        assert server.get(f"{API}/providers")["total_count"] >= 1
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204
        assert server.get(f"{API}/jobs")["total_count"] == 0
        assert "of%20a%20server" not in server.log_text()
        assert server.terminate() == 0


def test_an_unavailable_database_answers_503_and_accepted_events_are_stored_later(
    configured: Config, postgres: RunningPostgres
) -> None:
    configured.scripted("running", "hang")
    with RunningServer(configured.folder) as server:
        job_id = server.submit()
        server.in_state(job_id, "running")
        postgres.stop()
        try:
            answers = [
                server.call("GET", f"{API}/jobs/{job_id}"),
                server.call("GET", f"{API}/jobs"),
                server.call("GET", f"{API}/providers"),
                server.report(job_id, "running", phase="loading_data"),
                server.call("DELETE", f"{API}/jobs/{job_id}"),
            ]
            assert processes_with(job_id) == []
        finally:
            postgres.start()
        codes = ["database_operation_failed", "query_failed", "query_failed", "database_operation_failed"]
        codes.append("database_operation_failed")
        assert [answer.body["message_code"] for answer in answers] == codes
        for answer in answers:
            assert answer.status == 503
            assert "Check that the database server runs" in answer.body["message"]
        job = server.in_state(job_id, "cancelled")
        assert job["status"]["benchmarks"][0]["phase"] == "loading_data"


def test_a_database_that_cannot_be_used_is_status_1_and_says_why(
    postgres: RunningPostgres, tmp_path: Path
) -> None:
    config = Config(tmp_path / "c", database={"driver": "pgx", "url": postgres.url(password="a-wrong-word")})
    server = RunningServer(config.folder)
    with pytest.raises(AssertionError, match="ended with 1"):
        server.start()
    text = server.log_text()
    assert "password authentication failed" in text
    assert "Check user and password in database.url" in text
    assert "a-wrong-word" not in text
    assert "Traceback" not in text
