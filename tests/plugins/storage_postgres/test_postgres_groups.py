"""Updates of one job: those that wait share a transaction, which writes the benchmarks that differ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from evalhub_server.domain.job_changes import with_benchmark
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.errors import NotFound, StorageError
from evalhub_server.models.common import Message, State
from evalhub_server.testing.builders import a_job
from evalhub_storage_postgres import record_cache
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import RunningPostgres


def append(text: str) -> Callable[[JobRecord], JobRecord]:
    def change(job: JobRecord) -> JobRecord:
        return with_changes(job, message=Message(message=job.progress.message.message + text))

    return change


def phase(index: int, text: str, job: JobRecord) -> JobRecord:
    return with_benchmark(job, replace(job.benchmarks[index], phase=text))


async def transactions(url: str) -> int:
    """The number of transactions so far that have written."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
    finally:
        await connection.close()


async def test_updates_that_wait_share_a_transaction(postgres: RunningPostgres, schema: str, opened) -> None:
    storage = await opened()
    job = a_job(message=Message(message=""))
    await storage.add_job(job)
    before = await transactions(postgres.url(schema))
    records = await asyncio.gather(*(storage.update_job(job.id, None, append(f"{n} ")) for n in range(300)))
    assert await transactions(postgres.url(schema)) - before <= 3
    texts = [record.progress.message.message for record in records]
    assert texts == ["".join(f"{n} " for n in range(last + 1)) for last in range(300)]
    assert await storage.get_job(job.id, None) == records[-1]


async def test_a_write_of_a_known_job_is_one_statement(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened(max_connections=1)
    watcher = await asyncpg.connect(postgres.url(schema))

    async def last_statement() -> str:
        """That of the only connection for records; a transaction of several statements ends with COMMIT."""
        return await watcher.fetchval(
            "SELECT query FROM pg_stat_activity WHERE query LIKE '%evalhub_jobs%' AND pid <> pg_backend_pid()"
        )

    try:
        job = a_job(size=2)
        await storage.add_job(job)
        assert "INSERT INTO evalhub_jobs" in await last_statement()
        after = await storage.update_job(job.id, None, partial(phase, 1, "a phase"))
        assert "UPDATE evalhub_jobs" in await last_statement()
        assert await storage.update_job(job.id, None, lambda job: job) is after
        assert (await last_statement()).startswith("SELECT xmin")
        await storage.delete_job(job.id, None)
        assert "DELETE FROM evalhub_jobs" in await last_statement()
    finally:
        await watcher.close()


async def test_an_update_writes_the_benchmarks_that_differ(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened()
    job = a_job(size=5)
    await storage.add_job(job)

    async def versions() -> dict[int, int]:
        connection = await asyncpg.connect(postgres.url(schema))
        try:
            sql = "SELECT idx, xmin::text::bigint FROM evalhub_jobs_benchmarks"
            return dict(await connection.fetch(sql))
        finally:
            await connection.close()

    before = await versions()
    await asyncio.gather(
        *(
            storage.update_job(job.id, None, partial(phase, index, text))
            for index, text in ((1, "a"), (3, "b"))
        )
    )
    after = await versions()
    assert [index for index in before if before[index] != after[index]] == [1, 3]
    phases = [each.phase for each in (await storage.get_job(job.id, None)).benchmarks]
    assert phases == ["", "a", "", "b", ""]
    fewer = await storage.update_job(
        job.id, None, lambda job: with_changes(job, benchmarks=job.benchmarks[:2])
    )
    assert await storage.get_job(job.id, None) == fewer
    await storage.delete_job(job.id, None)
    assert await versions() == {}


async def test_a_cached_job_is_read_again_after_a_change_by_another_program(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened()
    job = await stored(storage)
    assert await storage.get_job(job.id, None) is await storage.get_job(job.id, None)
    changed = with_changes(job, message=Message(message="from elsewhere"))
    await postgres.sql(
        f"UPDATE {schema}.evalhub_jobs SET progress = $1",  # noqa: S608
        msgspec.json.encode(changed.progress),
    )
    assert (await storage.get_job(job.id, None)).progress.message.message == "from elsewhere"
    after = await storage.update_job(job.id, None, append("!"))
    assert after.progress.message.message == "from elsewhere!"
    assert await storage.get_job(job.id, None) is after


async def stored(storage: PostgresStorage) -> JobRecord:
    job = a_job(size=2)
    await storage.add_job(job)
    return job


def test_the_cache_keeps_the_records_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_cache, "MAX_BENCHMARKS", 5)
    cache, jobs = record_cache.RecordCache(), [a_job(size=2) for _ in range(3)]

    def cached(job: JobRecord) -> JobRecord | None:
        entry = cache.get(job.id)
        return entry and entry.record

    for job in jobs:
        cache.put(job.id, record_cache.Versioned("1", job))
        assert cached(jobs[0]) is jobs[0]
    assert [cached(job) for job in jobs] == [jobs[0], None, jobs[2]]
    large = a_job(size=9)
    cache.put(large.id, record_cache.Versioned("1", large))
    assert [cached(job) for job in (jobs[0], large)] == [None, large]


def test_terminal_jobs_have_a_smaller_place_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_cache, "MAX_FINISHED_BENCHMARKS", 2)
    cache, jobs = record_cache.RecordCache(), [a_job(size=1) for _ in range(4)]
    for job in jobs:
        cache.put(job.id, record_cache.Versioned("1", job))
    assert all(cache.get(job.id) for job in jobs)
    for job in jobs[:3]:
        completed = with_changes(job, state=State.COMPLETED)
        cache.put(job.id, record_cache.Versioned("2", completed))
    assert [entry and entry.version for entry in map(cache.get, (job.id for job in jobs))] == [
        None,
        "2",
        "2",
        "1",
    ]
    cache.drop(jobs[1].id)
    assert cache.get(jobs[1].id) is None


async def test_an_update_that_fails_affects_no_other_of_its_transaction(opened) -> None:
    storage = await opened()
    job = a_job(message=Message(message=""), tenant="team-a")
    await storage.add_job(job)

    def refuse(_: JobRecord) -> JobRecord:
        raise ValueError("refused")

    outcomes = await asyncio.gather(
        storage.update_job(job.id, None, append("a")),
        storage.update_job(job.id, None, refuse),
        storage.update_job(job.id, "team-b", append("stranger")),
        storage.update_job(job.id, None, append("\ud800")),  # half of a surrogate pair is no text
        storage.update_job(job.id, None, lambda job: with_changes(job, id="another")),
        storage.update_job(job.id, "team-a", append("b")),
        return_exceptions=True,
    )
    assert [type(each) for each in outcomes] == [
        JobRecord, ValueError, NotFound, StorageError, StorageError, JobRecord,
    ]  # fmt: skip
    assert (await storage.get_job(job.id, None)).progress.message.message == "ab"


async def test_an_update_after_a_delete_does_not_join_one_before_it(opened) -> None:
    storage = await opened()
    job = a_job()
    await storage.add_job(job)
    first, deleted, second = await asyncio.gather(
        storage.update_job(job.id, None, append("a")),
        storage.delete_job(job.id, None),
        storage.update_job(job.id, None, append("b")),
        return_exceptions=True,
    )
    assert isinstance(first, JobRecord)
    assert deleted is None
    assert isinstance(second, NotFound)


async def test_a_cut_connection_fails_all_updates_of_the_transaction(
    postgres: RunningPostgres, opened
) -> None:
    storage = await opened(timeout_s=5)
    job = a_job()
    await storage.add_job(job)
    await asyncio.to_thread(postgres.stop)
    outcomes = await asyncio.gather(
        *(storage.update_job(job.id, None, append("a")) for _ in range(3)), return_exceptions=True
    )
    await asyncio.to_thread(postgres.start)
    assert all(isinstance(each, StorageError) for each in outcomes)
    assert await storage.update_job(job.id, None, lambda job: job) == job
