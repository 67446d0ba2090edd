"""Jobs with very many benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API, job_request


def test_a_job_with_too_many_benchmarks_is_refused(tmp_path: Path):
    config = Config(tmp_path / "config", service={"max_benchmarks_per_job": 3})
    config.provider("exit 1")
    members = [{"id": "b", "provider_id": "scripted"}] * 4
    config.write(
        "collections/four.yaml", {"id": "four", "name": "four", "category": "c", "benchmarks": members}
    )
    with RunningServer(config.folder) as server:
        collection = {**job_request(), "collection": {"id": "four"}}
        del collection["benchmarks"]
        for body in (job_request(*"bbbb"), collection):
            answer = server.call("POST", f"{API}/jobs", body)
            assert answer.refusal == (400, "request_validation_failed")
            assert "at most 3 benchmarks, and this one has 4" in answer.body["message"]
        assert server.get(f"{API}/jobs")["total_count"] == 0
        server.finished(server.submit(*"bbb"))


@pytest.mark.slow
def test_a_job_with_ten_thousand_benchmarks_fails_with_a_short_message(tmp_path: Path):
    config = Config(tmp_path / "config")
    config.provider(None)  # nothing to run: every launch fails
    with RunningServer(config.folder) as server:
        one_more = server.call("POST", f"{API}/jobs", job_request(*"b" * 10_001))
        assert one_more.refusal == (400, "request_validation_failed")
        job_id = server.submit(*"b" * 10_000)
        failed = f"{API}/jobs?status=failed&limit=1"  # without the job's resource, until it is there
        wait_until(lambda: server.get(failed)["total_count"], "the end of the job", 300)
        job = server.job(job_id)
    message = job["status"]["message"]["message"]
    assert message.endswith("\n… and 9,980 more\n")
    assert message.count("Benchmark b failed with message") == 20
    assert len(job["status"]["benchmarks"]) == 10_000
