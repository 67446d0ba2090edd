"""What is acknowledged is there after whatever happens to the process; and one server per file."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from evalhub_server.domain.record import BenchmarkRecord, Exit, ResultRecord, with_changes
from evalhub_server.errors import StartupError, StorageError
from evalhub_server.models.common import State
from evalhub_server.models.job import BenchmarkTest, JobTest, MetricSchema
from evalhub_server.plugins import JobQuery, Terms
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_storage_sqlite.connection import prepare_writer
from evalhub_storage_sqlite.storage import SqliteStorage

WRITER = Path(__file__).with_name("jobs_writer.py")


@contextmanager
def writer(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program until it has the database open; end it with the block."""
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(path), *options],
        env=os.environ | {"PYTHONPATH": ":".join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    benchmark = BenchmarkRecord(
        index=0,
        state=State.COMPLETED,
        started_at="2026-01-01T00:00:00Z",
        launched_at=EPOCH + timedelta(microseconds=123456),
        handle={"pid": 17, "nested": {"list": [1, 2.5, None, "å"]}},
        exit=Exit(code=0),
        result=ResultRecord(
            metrics={"accuracy": 0.1 + 0.2, "count": 2**53, "by_task": {"a": [True, False]}},
            metrics_schema=(MetricSchema(name="accuracy", type="float"),),
            test=BenchmarkTest(
                primary_score=0.5, primary_score_metric="accuracy", threshold=0.4, passed=True
            ),
        ),
    )
    jobs = [
        a_job(tenant="team-a", owner="ada", tags=("x",), size=3),
        a_job(
            state=State.COMPLETED,
            created_at=datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
            benchmarks=(benchmark,),
            test=JobTest(score=0.25, threshold=0.5, passed=False),
            experiment_id="17",
        ),
        a_job(benchmarks=()),
    ]
    storage = SqliteStorage(path)
    await storage.open()
    for job in jobs:
        await storage.add_job(job)
    changed = await storage.update_job(jobs[0].id, None, lambda job: with_changes(job, state=State.RUNNING))
    await storage.close()

    again = SqliteStorage(path)
    await again.open()
    assert [await again.get_job(job.id, None) for job in jobs] == [changed, *jobs[1:]]
    assert (await again.get_job(jobs[1].id, None)).created_at.tzinfo is UTC
    assert (await again.list_jobs(JobQuery(tags=Terms(values=("x",))))).items == [changed]
    assert await again.open_jobs() == [changed, jobs[2]]
    await again.add_job(a_job())
    await again.close()


async def test_the_same_storage_can_be_opened_again(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "jobs.db")
    for number in range(3):
        await storage.open()
        with pytest.raises(StorageError, match="open already"):
            await storage.open()
        await storage.add_job(a_job())
        assert (await storage.list_jobs(JobQuery())).total_count == number + 1
        await storage.close()


async def test_a_killed_server_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with writer(path) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(200)]
        process.kill()
        *rest, last = process.stdout.read().split("\n")
        acknowledged += rest  # ``last`` may be the beginning of an id
    assert process.returncode == -9
    storage = SqliteStorage(path)
    await storage.open()  # the killed one's lock does not matter
    for job_id in acknowledged:
        job = await storage.get_job(job_id, None)
        assert (job.state, len(job.benchmarks)) == (State.RUNNING, 3)
    assert (await storage.list_jobs(JobQuery())).total_count >= len(acknowledged)
    assert last == ""
    await storage.close()


async def test_a_server_that_fails_without_closing_ends_nevertheless(tmp_path: Path) -> None:
    with writer(tmp_path / "jobs.db", "--fail") as process:
        assert process.wait(timeout=30) == 1


async def test_a_second_server_on_the_same_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    link = tmp_path / "link.db"
    link.symlink_to(path)
    storage = SqliteStorage(link)
    with writer(path, "--wait") as process:
        with pytest.raises(StartupError, match=rf"in use by another server \(process {process.pid}\)"):
            await storage.open()
        process.communicate()  # ends its input, so it closes the storage
        assert process.returncode == 0
    await storage.open()
    with pytest.raises(StartupError, match=rf"in use by another server \(process {os.getpid()}\)"):
        await SqliteStorage(path).open()
    await storage.close()


async def test_a_file_system_without_locks_is_a_startup_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StartupError, match=r"cannot be locked \(No locks available\).*local disk"):
        await SqliteStorage(tmp_path / "jobs.db").open()


def test_a_file_system_without_write_ahead_logging_is_a_startup_error(tmp_path: Path) -> None:
    # A database in memory cannot do it either, so it stands for such a file system here.
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StartupError, match=r"jobs\.db cannot use write-ahead logging.*local disk"),
    ):
        prepare_writer(connection, tmp_path / "jobs.db")


async def test_a_missing_directory_is_made_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "data" / "jobs.db"
    storage = SqliteStorage(path)
    await storage.open()
    await storage.add_job(a_job())
    assert path.parent.stat().st_mode & 0o777 == 0o700
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert modes == dict.fromkeys(("jobs.db", "jobs.db-wal", "jobs.db-shm", "jobs.db.lock"), 0o600)
    await storage.close()


async def test_a_directory_that_cannot_be_made_is_a_startup_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = SqliteStorage(tmp_path / "file" / "jobs.db")
    with pytest.raises(StartupError, match=r"file/jobs\.db cannot be opened: .*or give database\.url"):
        await storage.open()
    await storage.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_directory_that_is_not_writable_is_a_startup_error(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o500)  # noqa: PTH101 - one call
    with pytest.raises(StartupError, match="cannot be opened: Permission denied"):
        await SqliteStorage(tmp_path / "jobs.db").open()


@pytest.mark.parametrize("name", [None, "jobs.db"])
async def test_a_storage_that_is_not_open_says_so(tmp_path: Path, name: str | None) -> None:
    storage = SqliteStorage(name and tmp_path / name)
    for _ in range(2):
        for call in (
            storage.add_job(a_job()),
            storage.get_job("x", None),
            storage.list_jobs(JobQuery()),
            storage.open_jobs(),
            storage.delete_job("x", None),
        ):
            with pytest.raises(StorageError, match="not open"):
                await call
        await storage.open()
        await storage.close()
