"""The same sample in other jobs: only one with the same input and target counts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API
from harness.waiting import processes_with


def finished(server: RunningServer, *samples: dict[str, Any]) -> str:
    """A completed job with these samples."""
    job_id = server.submit("b")
    if samples:
        body = b"".join(json.dumps(each).encode() + b"\n" for each in samples)
        assert server.call("PUT", f"{API}/jobs/{job_id}/benchmarks/0/samples", body).status == 200
    assert server.report(job_id, "completed", metrics={"acc": 1}).status == 204
    return job_id


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    config = Config(tmp_path / "config", local={"max_parallel": 20})
    config.provider("sleep 600 # waits for the test's own events", "b", "c")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as running:
        yield running
    for pid in processes_with(str(tmp_path)):  # adapters outlive the server
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(str(tmp_path)), "the end of the adapters")


def test_other_content_and_other_benchmarks_do_not_count(server: RunningServer):
    first = finished(server, {"sample_id": "q", "input": "1+1", "target": "2", "passed": True})
    changed = finished(server, {"sample_id": "q", "input": "1+1", "target": "3", "passed": True})
    repeated = finished(
        server,
        {"sample_id": "q", "epoch": 0, "input": "1+1", "target": "2", "passed": True},
        {"sample_id": "q", "epoch": 1, "input": "1+1", "target": "2", "passed": False},
    )
    finished(server, {"sample_id": "another"})
    finished(server)
    server.submit("c")
    page = server.get(f"/ui/jobs/{first}/b/0/sample?id=q")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "Passed in 1 of 2 jobs" in text
    assert "1/2 passed" in text
    assert "other input or target" in text
    others = server.get(f"/ui/jobs/{first}/b/0/sample.json?id=q")["other_jobs"]
    assert [(each["job_id"], each["same_content"]) for each in others] == [
        (repeated, True),
        (changed, False),
    ]
    # The older job is the baseline of the comparison.
    assert f"base={first}" in others[0]["compare_url"]
    assert others[0]["url"].endswith(f"/ui/jobs/{repeated}/b/0/sample?id=q")
    alone = server.get(f"/ui/jobs/{changed}/b/0/sample?id=q")
    assert "Passed in" not in alone
