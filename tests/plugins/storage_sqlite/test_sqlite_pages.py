"""Pages of the write-ahead log that the commits of a job take. Each is written and added up, and later copied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_server.domain.record import BenchmarkRecord, Exit, JobRecord, with_changes
from evalhub_server.models.common import State
from evalhub_server.models.job import JobTest
from evalhub_server.testing.builders import EPOCH, a_finished_job, a_job
from evalhub_storage_sqlite.storage import SqliteStorage

PAGE_AND_HEADER = 4096 + 24
Change = Callable[[JobRecord], JobRecord]


def change(benchmark: Change, **progress: object) -> Change:
    return lambda job: with_changes(benchmark(job), **progress)


def of_benchmark(**fields: object) -> Change:
    return lambda job: with_changes(job, benchmarks=(replace(job.benchmarks[0], **fields),))


LIFE = {
    "handle": of_benchmark(handle={"pid": 1}),
    "start": change(
        of_benchmark(state=State.RUNNING, started_at=EPOCH.isoformat()), state=State.RUNNING, updated_at=EPOCH
    ),
    "report": change(of_benchmark(phase="a phase"), updated_at=EPOCH + timedelta(seconds=1)),
    "result": change(
        of_benchmark(state=State.COMPLETED, completed_at=EPOCH.isoformat()),
        state=State.COMPLETED,
        test=JobTest(score=0.5, threshold=0.5, passed=True),
        updated_at=EPOCH + timedelta(seconds=2),
    ),
    "exit": of_benchmark(exit=Exit(code=0)),
}


@pytest.mark.parametrize(
    ("tenant", "expected"),
    [
        ("", {"create": 14, "handle": 1, "start": 4, "report": 2, "result": 6, "exit": 3}),
        ("team-a", {"create": 17, "handle": 1, "start": 5, "report": 2, "result": 7, "exit": 3}),
    ],
)
async def test_a_commit_writes_only_pages_of_what_it_changes(
    storage: SqliteStorage, tmp_path: Path, tenant: str, expected: dict[str, int]
) -> None:
    log = tmp_path / "jobs.db-wal"
    await storage.add_job(a_finished_job(tenant=tenant))
    written = [log.stat().st_size]
    job = a_job(tenant=tenant, benchmarks=(BenchmarkRecord(index=0, launched_at=EPOCH),))
    await storage.add_job(job)
    written.append(log.stat().st_size)
    for step in LIFE.values():
        await storage.update_job(job.id, None, step)
        written.append(log.stat().st_size)
    pages = [(after - before) // PAGE_AND_HEADER for before, after in pairwise(written)]
    assert dict(zip(["create", *LIFE], pages, strict=True)) == expected
