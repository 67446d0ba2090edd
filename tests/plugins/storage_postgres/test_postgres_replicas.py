"""Several servers on one database: suspended and killed leaders, slow transactions, lost connections, first starts."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import aclosing

import asyncpg
import pytest

from evalhub_server.errors import StorageError, StorageUnavailable
from evalhub_server.plugins import Gap, LeaseChanged
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.change_feed_contract import acquired, contains, following, read
from evalhub_server.testing.job_list_contract import say
from evalhub_storage_postgres import changes, control, storage
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import RunningPostgres


@pytest.fixture
async def pair(opened) -> tuple[PostgresStorage, PostgresStorage]:
    return await opened(shared=True), await opened(shared=True)


async def test_a_takeover_waits_for_a_write_in_flight(postgres: RunningPostgres, schema: str, pair) -> None:
    first, second = pair
    await first.add_job(a_job(id="job"))
    blocker = await asyncpg.connect(postgres.url(schema))
    try:
        async with blocker.transaction():
            await blocker.execute("SELECT FROM evalhub_jobs FOR UPDATE")
            lease = await acquired(first, 60)
            writing = asyncio.create_task(first.fenced(lease).update_job("job", None, say("in flight")))
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE evalhub_jobs%'"
            async with asyncio.timeout(60):
                while not await postgres.sql(waiting):
                    await asyncio.sleep(0.01)
            await first.renew_lease(lease, 0.01)
            assert await second.acquire_lease(60) is None
            assert not writing.done()
        await writing
        await acquired(second)
    finally:
        await blocker.close()
    assert (await second.get_job("job", None)).progress.message.message == "in flight"


async def test_a_fenced_view_is_open_as_long_as_its_storage(pair) -> None:
    first, second = pair
    leading = first.fenced(await acquired(first))
    with pytest.raises(StorageError, match="open as long as its storage"):
        await leading.open()
    await leading.close()
    await leading.add_job(a_job(id="job"))
    assert (await second.get_job("job", None)).id == "job"
    await first.close()
    with pytest.raises(StorageUnavailable, match="not open"):
        await leading.get_job("job", None)


# --- leaders that stop

LEADER = """
import asyncio, os, signal, sys
from evalhub_server.domain.record import with_changes
from evalhub_server.models.common import Message
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.database import Limits
from evalhub_storage_postgres.names import Names
from evalhub_storage_postgres.storage import PostgresStorage

async def lead():
    storage = PostgresStorage(locate(sys.argv[1]), shared=True, limits=Limits(idle_s=2))
    await storage.open()
    leading = storage.fenced(await storage.acquire_lease(600))

    def stop(job):
        print("in a transaction", flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
        return with_changes(job, message=Message(message="of the former leader"))

    try:
        await leading.update_job("job", None, stop)
        print("written", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    try:
        await leading.update_job("job", None, stop)
    except Exception as error:
        print(type(error).__name__, flush=True)

asyncio.run(lead())
"""


async def leader(postgres: RunningPostgres, schema: str, sent: str) -> asyncio.subprocess.Process:
    """A process that acquires the lease and sends itself a signal in the middle of a fenced write; its lease has expired."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LEADER, postgres.url(schema), sent, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"in a transaction\n"
    await postgres.sql(f"UPDATE {schema}.evalhub_lease SET expires_at = clock_timestamp()")  # noqa: S608
    return process


@pytest.mark.slow  # PostgreSQL ends its transaction after two seconds
async def test_a_suspended_leader_is_replaced_and_writes_nothing_afterwards(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened(shared=True)
    await storage.add_job(a_job(id="job"))
    process = await leader(postgres, schema, "SIGSTOP")
    await acquired(storage)  # its transaction is open, and PostgreSQL ends it
    written = await storage.fenced(await acquired(storage)).update_job("job", None, say("of the new leader"))
    os.kill(process.pid, signal.SIGCONT)
    output, _ = await process.communicate()
    assert output.split() == [b"StorageUnavailable", b"LeadershipLost"]
    assert await storage.get_job("job", None) == written


async def test_a_killed_leader_is_replaced(postgres: RunningPostgres, schema: str, opened) -> None:
    storage = await opened(shared=True)
    await storage.add_job(a_job(id="job"))
    process = await leader(postgres, schema, "SIGKILL")
    lease = await acquired(storage)
    assert await process.wait() == -signal.SIGKILL
    assert lease.epoch == 2
    await storage.fenced(lease).update_job("job", None, say("of the new leader"))


# --- feed


async def test_a_slow_transaction_neither_delays_others_nor_is_missed(
    postgres: RunningPostgres, schema: str, pair
) -> None:
    first, second = pair
    slow = await asyncpg.connect(postgres.url(schema))
    note = "INSERT INTO evalhub_changes (kind, id, tenant, deleted) VALUES ('job', 'slow', '', false)"
    try:
        transaction = slow.transaction()
        await transaction.start()
        await slow.execute(note)
        async with following(first) as feed:
            await second.add_job(a_job(id="fast"))
            items = await read(feed, contains("fast"))
            assert not contains("slow")(items)
            await transaction.commit()  # without a notification
            await read(feed, contains("slow"))
    finally:
        await slow.close()


async def test_a_feed_ends_with_its_connection_and_misses_nothing(postgres: RunningPostgres, pair) -> None:
    first, second = pair
    async with following(first) as feed:
        await second.add_job(a_job(id="before"))
        position = (await read(feed, contains("before")))[-1].position
        await postgres.cut_connections()
        with pytest.raises(StorageUnavailable, match="connection was lost"):
            await read(feed, lambda _: False)
    await second.add_job(a_job(id="meanwhile"))
    async with aclosing(first.changes(position)) as feed:
        assert await anext(feed) == LeaseChanged()
        items = await read(feed, contains("meanwhile"))
    assert not any(isinstance(item, Gap) for item in items)


@pytest.mark.parametrize(("limit", "value"), [("MAX_BEHIND_S", 0.0), ("MAX_ITEMS", 2)])
async def test_a_reader_that_is_too_far_behind_gets_a_gap(
    pair, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    first, second = pair
    async with following(first) as feed:
        await second.add_job(a_job(id="before"))
        position = (await read(feed, contains("before")))[-1].position
    for _ in range(3):
        await second.add_job(a_job())
    monkeypatch.setattr(changes, limit, value)
    async with aclosing(first.changes(position)) as feed:
        items = await read(feed, lambda items: any(isinstance(item, Gap) for item in items))
    assert [type(item) for item in items] == [LeaseChanged, Gap]


async def test_a_record_with_a_shortened_id_is_a_gap(pair) -> None:
    first, second = pair
    async with following(first) as feed:
        await second.add_job(a_job(id="x" * 1000))
        await read(feed, lambda items: any(isinstance(item, Gap) for item in items))


async def test_old_changes_are_deleted(
    postgres: RunningPostgres, schema: str, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_PRUNE_S", 0.05)
    opened_storage = await opened(shared=True)
    await opened_storage.add_job(a_job(id="old"))
    await opened_storage.add_job(a_job(id="new"))
    aged = f"UPDATE {schema}.evalhub_changes SET noted_at = noted_at - interval '1 hour' WHERE id = 'old'"  # noqa: S608
    await postgres.sql(aged)
    async with asyncio.timeout(60):
        while len(rows := await postgres.sql(f"SELECT id FROM {schema}.evalhub_changes")) > 1:  # noqa: S608
            await asyncio.sleep(0.02)
    assert [row["id"] for row in rows] == ["new"]


async def test_changes_of_a_restored_dump_are_forgotten(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    await (await opened(shared=True)).close()
    await postgres.sql(
        f"INSERT INTO {schema}.evalhub_changes (xid, kind, id, tenant, deleted)"  # noqa: S608
        " VALUES ('99999999999', 'job', 'of another cluster', '', false)"
    )
    await opened(shared=True)
    assert await postgres.sql(f"SELECT FROM {schema}.evalhub_changes") == []


# --- a database that does not respond


async def test_a_partition_is_noticed_within_seconds(
    postgres: RunningPostgres, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_storage = await opened(shared=True, timeout_s=600)
    await opened_storage.add_job(a_job(id="job"))
    lease = await acquired(opened_storage)
    monkeypatch.setattr(control, "_CALL_S", 0.3)
    postgres.freeze()
    try:
        reading = asyncio.create_task(opened_storage.get_job("job", None))
        await asyncio.wait([reading], timeout=0.1)
        with pytest.raises(StorageUnavailable):
            await opened_storage.renew_lease(lease, 600)
        with pytest.raises(StorageUnavailable):
            await reading
    finally:
        postgres.thaw()
    monkeypatch.setattr(control, "_CALL_S", 60.0)
    await opened_storage.renew_lease(lease, 600)
    assert (await opened_storage.get_job("job", None)).id == "job"


async def test_a_call_that_is_cancelled_during_an_outage_leaves_no_unseen_exception(
    postgres: RunningPostgres, opened
) -> None:
    unseen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    opened_storage = await opened(shared=True)
    lease = await acquired(opened_storage)
    await asyncio.to_thread(postgres.stop)
    try:
        calls = [
            asyncio.create_task(opened_storage.renew_lease(lease, 600)),
            asyncio.create_task(opened_storage.add_job(a_job())),
        ]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        with pytest.raises(StorageUnavailable):
            await opened_storage.get_job("job", None)
    finally:
        await asyncio.to_thread(postgres.start)
    await opened_storage.close()
    gc.collect()
    assert unseen == []
