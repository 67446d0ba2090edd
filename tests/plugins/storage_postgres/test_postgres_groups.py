"""Updates of one job that wait at the same time: one transaction, and each its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.errors import NotFound, StorageError
from evalhub_server.models.common import Message
from evalhub_server.testing.builders import a_job
from harness.postgres import RunningPostgres


def append(text: str) -> Callable[[JobRecord], JobRecord]:
    def change(job: JobRecord) -> JobRecord:
        return with_changes(job, message=Message(message=job.progress.message.message + text))

    return change


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
