"""The writer: batches, faults, cancelled callers, its death, and how little it writes."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.errors import AlreadyExists, NotFound, StorageError, StorageUnavailable
from evalhub_server.models.common import State
from evalhub_server.models.job import JobTest
from evalhub_server.plugins import JobQuery, Terms
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.job_list_contract import say
from evalhub_server.testing.storage_contract import count_up
from evalhub_storage_sqlite import connection, writer
from evalhub_storage_sqlite.connection import Connection
from evalhub_storage_sqlite.jobs import JOBS
from evalhub_storage_sqlite.record_mapper import Transaction
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.sqlite import connection_of, count_hops, fill_the_disk, free_the_disk, pragma


def task_of(storage: SqliteStorage) -> asyncio.Task[None]:
    assert storage._writer is not None
    return storage._writer._task


# --- how little it writes


async def test_updates_at_once_share_one_transaction(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [a_job() for _ in range(16)]
    await asyncio.gather(*map(storage.add_job, jobs))
    hops = count_hops(monkeypatch)
    await asyncio.gather(*(storage.update_job(job.id, None, count_up) for job in jobs))
    assert hops == ["write"]


async def test_new_records_are_not_looked_up(storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    hops = count_hops(monkeypatch)
    await asyncio.gather(*(storage.add_job(a_job()) for _ in range(4)))
    assert hops == ["write"]


@pytest.mark.parametrize("cached", [True, False])
async def test_a_record_that_exists_fails_alone_in_its_batch(storage: SqliteStorage, cached: bool) -> None:
    first, changed, new = a_job(), a_job(), a_job()
    await storage.add_job(first)
    await storage.add_job(changed)
    if not cached:
        for job in (first, changed):
            storage._jobs.records.publish(job.id, None)
    outcomes = await asyncio.gather(
        storage.update_job(changed.id, None, count_up),
        storage.add_job(with_changes(first, tenant="another")),
        storage.add_job(new),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [JobRecord, AlreadyExists, type(None)]
    assert await storage.get_job(first.id, None) == first
    assert await storage.get_job(new.id, None) == new
    assert await storage.get_job(changed.id, None) == count_up(changed)


async def test_an_addition_beside_another_operation_on_its_record_looks_it_up(storage: SqliteStorage) -> None:
    job = a_job()
    await storage.add_job(job)
    storage._jobs.records.publish(job.id, None)
    outcomes = await asyncio.gather(
        storage.add_job(job), storage.delete_job(job.id, None), storage.add_job(job), return_exceptions=True
    )
    assert [type(each) for each in outcomes] == [AlreadyExists, type(None), type(None)]


async def test_an_update_that_follows_at_once_joins_the_transaction(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [a_job() for _ in range(2)]
    await asyncio.gather(*map(storage.add_job, jobs))
    hops = count_hops(monkeypatch)
    first = asyncio.create_task(storage.update_job(jobs[0].id, None, count_up))
    await asyncio.sleep(0)
    await asyncio.gather(first, storage.update_job(jobs[1].id, None, count_up))
    assert hops == ["write"]


@pytest.mark.parametrize(("gather_s", "one"), [(60.0, True), (0.0, False)])
async def test_updates_that_keep_arriving_share_a_transaction_for_a_limited_time(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch, gather_s: float, one: bool
) -> None:
    monkeypatch.setattr(writer, "GATHER_S", gather_s)
    jobs = [a_job() for _ in range(8)]
    await asyncio.gather(*map(storage.add_job, jobs))
    hops = count_hops(monkeypatch)
    updates: list[asyncio.Task[JobRecord]] = []
    for job in jobs:
        updates.append(asyncio.create_task(storage.update_job(job.id, None, count_up)))
        await asyncio.sleep(0)
    await asyncio.gather(*updates)
    assert (len(hops) == 1) is one


async def test_jobs_that_are_not_cached_are_read_at_once(
    uncached: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [a_job() for _ in range(16)]
    await asyncio.gather(*map(uncached.add_job, jobs))
    hops = count_hops(monkeypatch)
    await asyncio.gather(*(uncached.update_job(job.id, None, count_up) for job in jobs))
    assert hops == ["read", "write"]
    hops.clear()
    assert len((await uncached.list_jobs(JobQuery())).items) == 16
    assert hops == ["read", "read"]


async def test_a_list_asked_again_needs_no_query_until_something_is_listed_differently(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    await storage.add_job(job)
    await storage.list_jobs(JobQuery())
    hops = count_hops(monkeypatch)
    await storage.update_job(job.id, None, count_up)
    assert (await storage.list_jobs(JobQuery())).items[0].benchmarks[0].attempt == 2
    assert hops == ["write"]
    await storage.update_job(job.id, None, lambda now: with_changes(now, state=State.FAILED))
    assert (await storage.list_jobs(JobQuery(status=Terms(values=("pending",))))).items == []
    assert hops == ["write", "write", "read"]


async def test_nothing_to_write_is_no_transaction(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    await storage.add_job(job)
    hops = count_hops(monkeypatch)
    assert await storage.update_job(job.id, None, lambda now: now) is job
    assert await storage.update_job(job.id, None, lambda _: None) is job
    assert hops == []


async def test_an_event_of_a_job_with_many_benchmarks_writes_its_row_only(
    storage: SqliteStorage, tmp_path: Path
) -> None:
    job = a_job(size=800)
    await storage.add_job(job)
    connection, log = connection_of(storage), tmp_path / "jobs.db-wal"
    await pragma(storage, "wal_checkpoint(TRUNCATE)")

    def event(now: JobRecord) -> JobRecord:
        benchmarks = list(now.benchmarks)
        benchmarks[400] = msgspec.structs.replace(benchmarks[400], state=State.RUNNING)
        return with_changes(now, benchmarks=tuple(benchmarks))

    rows = connection.total_changes
    await storage.update_job(job.id, None, event)
    assert connection.total_changes - rows == 1
    assert log.stat().st_size < 4 * 4200  # a few pages, however large the definition is

    await pragma(storage, "wal_checkpoint(TRUNCATE)")
    rows = connection.total_changes
    after = await storage.update_job(job.id, None, say("running"))
    assert connection.total_changes - rows == 1
    assert log.stat().st_size < 4 * 4200
    assert await storage.get_job(job.id, None) is after


async def test_many_events_of_one_job_in_a_batch_write_each_row_once(storage: SqliteStorage) -> None:
    job = a_job()
    await storage.add_job(job)
    rows = connection_of(storage).total_changes
    await asyncio.gather(*(storage.update_job(job.id, None, count_up) for _ in range(50)))
    assert connection_of(storage).total_changes - rows == 1


async def test_benchmarks_that_come_and_go_within_a_batch(uncached: SqliteStorage) -> None:
    def resize(size: int) -> Any:
        return lambda now: with_changes(now, benchmarks=a_job(size=size).benchmarks)

    job, other = a_job(size=4), a_job()
    sizes = (4, 6, 1, 3)
    await uncached.add_job(job)
    await asyncio.gather(*(uncached.update_job(job.id, None, resize(size)) for size in sizes))
    await uncached.add_job(other)
    assert len((await uncached.get_job(job.id, None)).benchmarks) == 3
    new = a_job(size=4)
    await asyncio.gather(
        uncached.add_job(new), *(uncached.update_job(new.id, None, resize(size)) for size in sizes)
    )
    await uncached.get_job(other.id, None)
    assert len((await uncached.get_job(new.id, None)).benchmarks) == 3


def test_an_insert_with_rows_missing_is_refused() -> None:
    job = a_job()
    with pytest.raises(ValueError, match="some of its rows are missing"):
        JOBS.insert(Transaction(JOBS.statements), 1, job, JOBS.changes(job, say("hello")(job)))


# --- identity


async def test_a_get_returns_the_very_object_that_the_write_left(storage: SqliteStorage) -> None:
    job = a_job()
    await storage.add_job(job)
    assert await storage.get_job(job.id, None) is job
    after = await storage.update_job(job.id, None, count_up)
    assert await storage.get_job(job.id, None) is after
    assert (await storage.list_jobs(JobQuery())).items[0] is after


async def test_readers_see_a_record_only_once_it_is_committed(storage: SqliteStorage) -> None:
    job = a_job()
    await storage.add_job(job)
    # Another program holds the write lock, so the commit has to wait for it.
    other = sqlite3.connect(storage._path or "", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(storage.update_job(job.id, None, count_up))
    adding = asyncio.create_task(storage.add_job(a_job(id="new")))
    for limit in range(1, 21):  # another list each time, so that none is remembered
        assert await storage.get_job(job.id, None) is job
        assert (await storage.list_jobs(JobQuery(limit=limit))).items == [job]
        with pytest.raises(NotFound):
            await storage.get_job("new", None)
    assert not writing.done()
    other.execute("ROLLBACK")
    other.close()
    after = await writing
    await adding
    assert await storage.get_job(job.id, None) is after


# --- faults


async def test_a_full_disk_fails_everyone_in_the_batch_and_changes_nothing(storage: SqliteStorage) -> None:
    job, gone = a_job(), a_job()
    await storage.add_job(job)
    await storage.add_job(gone)
    await fill_the_disk(storage)
    results = await asyncio.gather(
        storage.update_job(job.id, None, count_up),
        storage.delete_job(gone.id, None),
        storage.add_job(a_job(id="large", size=2000)),
        storage.update_job(job.id, None, count_up),
        return_exceptions=True,
    )
    for result, doing in zip(results, ("Updating", "Deleting", "Adding", "Updating"), strict=True):
        assert isinstance(result, StorageUnavailable)
        assert str(result).startswith(f"{doing} job ")
        assert "disk is full" in str(result)
        assert "Free disk space" in str(result)
    again = await storage.get_job(job.id, None)
    assert again == job
    assert again is not job  # read from the file, which alone knows how far a commit came
    assert [each.id for each in (await storage.list_jobs(JobQuery())).items] == [gone.id, job.id]

    await free_the_disk(storage)
    await storage.add_job(a_job(id="large", size=2000))
    assert (await storage.update_job(job.id, None, count_up)).benchmarks[0].attempt == 2


async def test_a_lock_of_another_program_is_an_outage_and_then_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_TIMEOUT_S", 0.05)
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    job = a_job()
    await storage.add_job(job)
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match=r"locked.*end that program's transaction"):
            await storage.update_job(job.id, None, count_up)
        assert (await storage.list_jobs(JobQuery())).items == [job]
    assert (await storage.update_job(job.id, None, count_up)).benchmarks[0].attempt == 2
    await storage.close()


async def test_a_fault_while_reading_fails_the_batch_and_not_the_writer(uncached: SqliteStorage) -> None:
    jobs = [a_job(), a_job()]
    for job in jobs:
        await uncached.add_job(job)
    await connection_of(uncached).call(
        lambda connection: connection.execute("ALTER TABLE benchmarks RENAME TO hidden")
    )
    with pytest.raises(StorageError, match=f"Updating job {jobs[0].id} failed: no such table"):
        await uncached.update_job(jobs[0].id, None, count_up)
    for call in (uncached.get_job(jobs[0].id, None), uncached.list_jobs(JobQuery()), uncached.open_jobs()):
        with pytest.raises(StorageError, match="no such table"):
            await call
    await connection_of(uncached).call(
        lambda connection: connection.execute("ALTER TABLE hidden RENAME TO benchmarks")
    )
    assert (await uncached.update_job(jobs[0].id, None, count_up)).benchmarks[0].attempt == 2


async def test_lists_report_faults_of_the_database(storage: SqliteStorage) -> None:
    await connection_of(storage).call(lambda connection: connection.execute("DROP TABLE jobs"))
    for call in (storage.list_jobs(JobQuery()), storage.open_jobs()):
        with pytest.raises(StorageError, match=r"(Listing jobs|Listing open jobs) failed: .*jobs"):
            await call


@pytest.mark.parametrize(
    "broken",
    [
        {"request": msgspec.structs.replace(a_job().request, custom={"not": object()})},
        {"request": msgspec.structs.replace(a_job().request, name="\ud800")},
        {"owner": "\ud800"},
        {"test": JobTest(score=float("inf"), threshold=0.5, passed=True)},  # would be null in JSON
        {"created_at": a_job().created_at.replace(tzinfo=None)},
    ],
)
async def test_a_record_that_cannot_be_written_fails_alone(
    storage: SqliteStorage, broken: dict[str, Any]
) -> None:
    job = a_job()
    bad, *good = await asyncio.gather(
        storage.add_job(a_job(id="bad", **broken)),
        storage.add_job(job),
        storage.update_job(job.id, None, count_up),
        return_exceptions=True,
    )
    assert isinstance(bad, StorageError)
    assert "Job bad cannot be stored" in str(bad)
    assert not any(isinstance(each, Exception) for each in good)
    assert (await storage.list_jobs(JobQuery())).total_count == 1


async def test_an_update_that_cannot_be_written_leaves_its_predecessor_in_the_batch(
    uncached: SqliteStorage,
) -> None:
    def break_it(now: JobRecord) -> JobRecord:
        first = msgspec.structs.replace(now.benchmarks[0], handle={"not": object()}, phase="broken")
        return with_changes(now, benchmarks=(first,), state=State.FAILED)

    job = a_job()
    await uncached.add_job(job)
    results = await asyncio.gather(
        *(uncached.update_job(job.id, None, change) for change in (count_up, break_it, count_up)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [JobRecord, StorageError, JobRecord]
    await uncached.add_job(a_job())
    after = await uncached.get_job(job.id, None)
    assert (after.state, after.benchmarks[0].phase, after.benchmarks[0].attempt) == (State.PENDING, "", 3)


@pytest.mark.parametrize(
    "other",
    [{"id": "another"}, {"tenant": "another"}, {"owner": "another"}, {"created_at": a_job().created_at}],
)
async def test_a_change_keeps_what_identifies_the_job(storage: SqliteStorage, other: dict[str, Any]) -> None:
    job = a_job()
    await storage.add_job(job)
    with pytest.raises(StorageError, match=f"Job {job.id}"):
        await storage.update_job(job.id, None, lambda now: with_changes(now, **other))
    assert await storage.get_job(job.id, None) is job


@pytest.mark.parametrize("error", [StopIteration("odd"), RecursionError("deep"), KeyError("x")])
async def test_whatever_a_change_raises_the_writer_lives(storage: SqliteStorage, error: Exception) -> None:
    def fail(_: JobRecord) -> JobRecord:
        raise error

    job = a_job()
    await storage.add_job(job)
    with pytest.raises((type(error), RuntimeError)):
        await storage.update_job(job.id, None, fail)
    assert (await storage.update_job(job.id, None, count_up)).benchmarks[0].attempt == 2


# --- cancelled callers


@pytest.mark.parametrize("seed", range(5))
async def test_callers_cancelled_at_random_leave_everything_consistent(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same run every time
    ids = [f"job-{number}" for number in range(8)]
    kept = [f"kept-{number}" for number in range(60)]
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()

    async def act() -> None:
        job_id = chance.choice(ids)
        kind = chance.choice(["add", "update", "update", "update", "delete"])
        with suppress(NotFound, AlreadyExists):
            if kind == "add":
                await storage.add_job(a_job(id=job_id, size=2, tags=("x",)))
            elif kind == "update":
                await storage.update_job(job_id, None, count_up)
            else:
                await storage.delete_job(job_id, None)

    for job_id in kept:
        tasks = [asyncio.create_task(act()) for _ in range(12)]
        keeping = asyncio.create_task(storage.add_job(a_job(id=job_id)))
        for _ in range(chance.randrange(5)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 5):
            task.cancel()
        await asyncio.gather(keeping, *tasks, return_exceptions=True)
    assert storage._jobs is not None
    records = storage._jobs.records  # what the server believes, to be compared with what the file says
    await storage.close()

    again = SqliteStorage(tmp_path / "jobs.db")
    await again.open()
    listed = await again.list_jobs(JobQuery(limit=1000))
    assert {job.id: job for job in listed.items} == {
        job_id: stored.record for job_id in (*ids, *kept) if (stored := records.get(job_id))
    }
    assert {*kept} <= {job.id for job in listed.items}
    assert await pragma(again, "integrity_check") == ("ok",)
    assert (
        await connection_of(again).call(lambda each: each.execute("PRAGMA foreign_key_check").fetchall())
        == []
    )
    await again.close()


async def test_an_operation_whose_caller_left_before_its_batch_is_dropped(storage: SqliteStorage) -> None:
    task = asyncio.create_task(storage.add_job(a_job(id="dropped")))
    await asyncio.sleep(0)
    task.cancel()
    await storage.add_job(a_job(id="kept"))
    assert [job.id for job in (await storage.list_jobs(JobQuery())).items] == ["kept"]
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancelled_reader_leaves_the_connection_in_order(uncached: SqliteStorage) -> None:
    jobs = [a_job() for _ in range(5)]
    for job in jobs:
        await uncached.add_job(job)
    for job in jobs[:4]:
        task = asyncio.create_task(uncached.get_job(job.id, None))
        await asyncio.sleep(0)
        task.cancel()
    assert [job.id for job in (await uncached.list_jobs(JobQuery())).items] == [
        job.id for job in reversed(jobs)
    ]


# --- its end


async def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    adding = [asyncio.create_task(storage.add_job(a_job())) for _ in range(600)]
    await asyncio.sleep(0)
    await asyncio.gather(storage.close(), storage.close())
    await asyncio.gather(*adding)
    await storage.open()
    assert (await storage.list_jobs(JobQuery())).total_count == 600
    await storage.close()


async def test_what_comes_while_closing_is_refused(storage: SqliteStorage) -> None:
    adding = asyncio.create_task(storage.add_job(a_job()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(storage.close())
    await asyncio.sleep(0)
    with pytest.raises(StorageError, match="closed"):
        await storage.add_job(a_job())
    await asyncio.gather(adding, closing)


async def test_a_close_that_was_cancelled_can_be_repeated(storage: SqliteStorage) -> None:
    adding = asyncio.create_task(storage.add_job(a_job()))
    await asyncio.sleep(0)
    closing = asyncio.create_task(storage.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await storage.close()
    await adding


async def test_the_end_of_the_writer_task_fails_all_pending_and_later_calls(
    storage: SqliteStorage, caplog: pytest.LogCaptureFixture
) -> None:
    job = a_job()
    await storage.add_job(job)
    task = task_of(storage)
    assert task.get_name() == "sqlite-writer"
    waiting = [asyncio.create_task(storage.update_job(job.id, None, count_up)) for _ in range(300)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, StorageError)
        assert "writer task" in str(result)
    with pytest.raises(StorageUnavailable, match=r"has died.*restart the server"):
        await storage.update_job(job.id, None, count_up)
    assert (await storage.get_job(job.id, None)).id == job.id  # reading goes on
    assert "the writer task has died" in caplog.text
    await storage.close()


async def test_the_death_of_the_writer_task_does_not_hang_a_close(storage: SqliteStorage) -> None:
    waiting = [asyncio.create_task(storage.add_job(a_job())) for _ in range(300)]
    closing = asyncio.create_task(storage.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task_of(storage).cancel()
    await closing
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)


async def test_a_bug_in_the_writer_fails_all_pending_calls(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bug(self: Connection, *_: object) -> None:
        raise AssertionError("this cannot happen")

    job = a_job()
    await storage.add_job(job)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "call", bug)
        results = await asyncio.gather(
            *(storage.update_job(job.id, None, count_up) for _ in range(3)), return_exceptions=True
        )
    assert all(isinstance(result, StorageError) and "this cannot happen" in str(result) for result in results)
    assert await storage.get_job(job.id, None) == job
