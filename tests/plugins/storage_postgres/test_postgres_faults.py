"""Connections that break, databases that do not answer, servers that compete, callers that go away."""

from __future__ import annotations

import asyncio
import random
import threading

import asyncpg
import psutil
import pytest
from msgspec.json import encode

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.resource import Kind
from evalhub_server.errors import StartupError, StorageError, StorageUnavailable
from evalhub_server.models.common import Message
from evalhub_server.testing.builders import a_collection, a_job
from evalhub_storage_postgres import control
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.faults import storage_errors
from evalhub_storage_postgres.storage import PostgresStorage
from harness import free_port, wait_until
from harness.postgres import RunningPostgres


def say(job: JobRecord) -> JobRecord:
    return with_changes(job, message=Message(message="said"))


def cut_now(postgres: RunningPostgres) -> None:
    """Cut every connection while the event loop stands still."""
    cutting = threading.Thread(target=lambda: asyncio.run(postgres.cut_connections()))
    cutting.start()
    cutting.join()


async def test_what_was_stored_survives_both_servers(postgres: RunningPostgres, opened) -> None:
    first = await opened()
    job, collection = a_job(tags=("x",), size=3), a_collection(run_count=3)
    await first.add_job(job)
    await first.add_resource(collection)
    await first.close()
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(postgres.start)
    second = await opened()
    assert await second.open_jobs() == [job]
    assert await second.get_resource(Kind.COLLECTION, collection.id, None) == collection


async def test_a_restart_of_the_database_is_an_error_and_then_over(postgres: RunningPostgres, opened) -> None:
    storage = await opened(timeout_s=5)
    job = a_job()
    await storage.add_job(job)
    await asyncio.to_thread(postgres.stop)
    for attempt in (storage.get_job(job.id, None), storage.update_job(job.id, None, say)):
        with pytest.raises(StorageUnavailable, match="Check that the database server runs"):
            await attempt
    await asyncio.to_thread(postgres.start)
    assert await storage.get_job(job.id, None) == job
    assert (await storage.update_job(job.id, None, say)).progress.message.message == "said"


async def test_an_update_whose_connection_is_cut_is_an_error_and_leaves_nothing(
    postgres: RunningPostgres, opened
) -> None:
    def cut(record: JobRecord) -> JobRecord:
        cut_now(postgres)
        return say(record)

    storage = await opened()
    job = a_job()
    await storage.add_job(job)
    with pytest.raises(StorageUnavailable, match=f"Updating job {job.id} failed"):
        await storage.update_job(job.id, None, cut)
    assert await storage.get_job(job.id, None) == job
    assert (await storage.update_job(job.id, None, say)).progress.message.message == "said"


async def test_a_database_that_does_not_answer_is_an_error_and_not_a_wait(
    postgres: RunningPostgres, opened
) -> None:
    storage = await opened(timeout_s=0.5)
    job = a_job()
    await storage.add_job(job)
    postgres.freeze()
    try:
        attempts = [storage.get_job(job.id, None) for _ in range(30)]
        attempts += [storage.update_job(job.id, None, say) for _ in range(30)]
        results = await asyncio.wait_for(asyncio.gather(*attempts, return_exceptions=True), 30)
        assert {type(result) for result in results} == {StorageUnavailable}
        assert all("no response in time" in str(result) for result in results)
    finally:
        postgres.thaw()
    assert await storage.get_job(job.id, None) == job


async def test_closing_does_not_wait_for_a_database_that_does_not_answer(
    postgres: RunningPostgres, opened
) -> None:
    storage = await opened(timeout_s=0.5)
    postgres.freeze()
    try:
        await asyncio.wait_for(storage.close(), 30)
    finally:
        postgres.thaw()


async def test_callers_that_go_away_leave_no_transaction_open(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    chance = random.Random(11)  # noqa: S311 - the same run every time
    storage = await opened(max_connections=3)
    job = a_job()
    await storage.add_job(job)
    tasks: list[asyncio.Task[object]] = []
    for _ in range(20):
        tasks += [asyncio.create_task(storage.update_job(job.id, None, say)) for _ in range(3)]
        tasks.append(asyncio.create_task(storage.get_job(job.id, None)))
        for _ in range(chance.randrange(9)):
            await asyncio.sleep(0)
        chance.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await storage.update_job(job.id, None, say)
    rows = await postgres.sql(
        "SELECT 1 FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = $1",
        "eval-hub-server",
    )
    assert rows == []


async def test_what_a_change_raises_is_no_fault_of_the_database(opened) -> None:
    def refuse(record: JobRecord) -> JobRecord:
        raise TimeoutError(f"{record.id} is too late")

    storage = await opened()
    job = a_job()
    await storage.add_job(job)
    with pytest.raises(TimeoutError, match=f"{job.id} is too late"):
        await storage.update_job(job.id, None, refuse)


async def test_an_update_waits_for_a_program_beside_the_server(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened()
    job = a_job()
    await storage.add_job(job)
    elsewhere = with_changes(job, message=Message(message="from elsewhere"))
    records: list[JobRecord] = []

    def pinned(record: JobRecord) -> JobRecord:
        return with_changes(record, pinned=True)

    def seen(record: JobRecord) -> JobRecord:
        records.append(record)
        return pinned(record)

    other = await asyncpg.connect(postgres.url(schema))
    try:
        async with other.transaction():
            await other.execute("UPDATE evalhub_jobs SET progress = $1", encode(elsewhere.progress))
            update = asyncio.create_task(storage.update_job(job.id, None, seen))
            await asyncio.wait([update], timeout=0.2)
            assert not update.done()
        assert await update == pinned(elsewhere)
        assert records == [job, elsewhere], "the change is repeated on what the program wrote"
    finally:
        await other.close()


async def test_connections_that_are_too_old_are_replaced(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened(max_connections=1, max_lifetime_s=0.001)
    pids: set[int] = set()
    job = a_job()
    await storage.add_job(job)
    for _ in range(3):
        await storage.update_job(job.id, None, say)
        rows = await postgres.sql(
            "SELECT pid FROM pg_stat_activity WHERE query LIKE '%UPDATE evalhub_jobs%' AND pid <> pg_backend_pid()"
        )
        pids.update(row["pid"] for row in rows)
    assert len(pids) == 3


async def test_what_a_cancelled_caller_asked_for_is_done_before_a_close(opened) -> None:
    storage = await opened()
    job = a_job()
    writing = asyncio.create_task(storage.add_job(job))
    await asyncio.sleep(0)
    writing.cancel()
    await storage.close()
    assert writing.cancelled()
    assert await (await opened()).open_jobs() == [job]


async def test_after_a_close_nothing_is_asked(opened) -> None:
    storage = await opened()
    writing = asyncio.create_task(storage.add_job(a_job(id="last")))
    await asyncio.sleep(0)
    await storage.close()
    await writing
    with pytest.raises(StorageError, match="not open"):
        await storage.get_job("last", None)
    assert (await (await opened()).get_job("last", None)).id == "last"


def test_a_connection_that_was_ended_unnoticed_is_a_temporary_fault() -> None:
    error = asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is in progress")
    with pytest.raises(StorageUnavailable), storage_errors("Updating", locate("postgres://db/jobs")):
        raise error


# --- one server per schema


async def test_a_second_server_does_not_start(opened) -> None:
    first = await opened()
    with pytest.raises(StartupError, match=r"in use by another server.*search_path"):
        await opened()
    await first.close()
    await opened()


async def test_a_second_server_waits_for_one_that_is_ending(opened) -> None:
    first = await opened()
    second = asyncio.create_task(opened(patience_s=30))
    await asyncio.wait([second], timeout=0.1)
    assert not second.done()
    await first.close()
    await second


async def test_schemas_are_databases_of_their_own(postgres: RunningPostgres, opened) -> None:
    here = await opened()
    there = PostgresStorage(locate(postgres.url(await postgres.new_schema())), patience_s=0)
    await there.open()
    try:
        await here.add_job(a_job())
        assert await there.open_jobs() == []
    finally:
        await there.close()


async def test_a_lock_whose_connection_was_cut_is_taken_again_by_the_next_write(
    postgres: RunningPostgres, opened
) -> None:
    storage = await opened()
    await postgres.cut_connections()
    job = a_job()
    await storage.add_job(job)
    with pytest.raises(StartupError, match="in use by another server"):
        await opened()


async def test_a_server_that_lost_the_database_to_another_writes_no_more(
    postgres: RunningPostgres, opened
) -> None:
    first = await opened()
    await postgres.cut_connections()
    second = await opened()
    with pytest.raises(StorageUnavailable, match="another server has taken over the database"):
        await first.add_job(a_job())
    assert await second.open_jobs() == []


async def test_a_lock_that_cannot_be_confirmed_stops_all_writing_until_it_is_taken_again(
    postgres: RunningPostgres, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_CHECK_S", 0.0)
    storage = await opened(timeout_s=0.5)
    await storage.add_job(a_job())
    locks = "SELECT pid FROM pg_locks WHERE locktype = 'advisory'"
    (row,) = await postgres.sql(locks)
    holder = psutil.Process(row["pid"])
    holder.suspend()  # as if the machine at the other end were gone: nothing closes the connection
    try:
        with pytest.raises(StorageUnavailable, match="another server has taken over the database"):
            await storage.add_job(a_job())
    finally:
        holder.resume()
    await asyncio.to_thread(wait_until, lambda: not holder.is_running(), "the end of the old connection")
    await storage.add_job(a_job())
    assert len(await postgres.sql(locks)) == 1
    assert len(await storage.open_jobs()) == 2


# --- starts that fail


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        ((":PORT/", ":{free}/"), ["Check that the database server runs"]),
        (("p%3Ass", "wrong"), ["password authentication failed", "Check user and password"]),
        (("/postgres?", "/nowhere?"), ['"nowhere" does not exist', "Create the database"]),
        (("sslmode=disable", "sslmode=require"), ["SSL"]),
        (("search_path=public", "search_path=nowhere"), ["no schema", "search_path"]),
        (("sslmode=disable", "sslmode=perhaps"), ["sslmode"]),
    ],
)
async def test_a_database_that_cannot_be_used_keeps_the_server_from_starting(
    postgres: RunningPostgres, change: tuple[str, str], fragments: list[str]
) -> None:
    old, new = (part.replace("PORT", str(postgres.port)).format(free=free_port()) for part in change)
    url = postgres.url()
    assert old in url
    storage = PostgresStorage(locate(url.replace(old, new)), patience_s=0)
    with pytest.raises(StartupError) as caught:
        await storage.open()
    text = str(caught.value)
    assert [fragment for fragment in fragments if fragment not in text] == []
    assert "word" not in text.replace("password", "")
    await storage.close()


async def test_a_missing_right_is_reported_with_the_grant(postgres: RunningPostgres, schema: str) -> None:
    await postgres.sql(f"CREATE ROLE poor_{schema} LOGIN PASSWORD 'poor'")
    await postgres.sql(f"GRANT USAGE ON SCHEMA {schema} TO poor_{schema}")
    url = postgres.url(schema, password="poor").replace("evalhub:", f"poor_{schema}:")
    with pytest.raises(StartupError, match=r"permission denied.*GRANT CREATE"):
        await PostgresStorage(locate(url), patience_s=0).open()


async def test_a_database_of_a_newer_version_is_left_alone(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    await (await opened()).close()
    await postgres.sql(f"INSERT INTO {schema}.evalhub_schema VALUES (1000)")  # noqa: S608
    with pytest.raises(StartupError, match="schema version 1000"):
        await opened()


async def test_a_schema_that_cannot_be_made_whole_is_not_made(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    await postgres.sql(f"CREATE TABLE {schema}.evalhub_resources (a int)")
    with pytest.raises(StartupError, match="already exists"):
        await opened()
    tables = await postgres.sql("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
    assert [row["tablename"] for row in tables] == ["evalhub_resources"]
