"""Starts of several servers on one database: the first migrates it, and versions that cannot share it are refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from evalhub_server.errors import StartupError, StorageLost
from evalhub_server.plugins import JobQuery, Kind, ResourceQuery, Storage
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.change_feed_contract import acquired
from evalhub_server.testing.job_list_contract import say
from evalhub_storage_postgres import schema as schema_module
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.names import Names
from evalhub_storage_postgres.storage import PostgresStorage
from harness.earlier_database import check_migrated, dump
from harness.postgres import RunningPostgres

NEWER = len(schema_module.MIGRATIONS) + 1
"""The version of the schema of a newer server."""


@pytest.mark.parametrize("earlier", [False, True])
async def test_of_several_first_starts_one_migrates_and_all_succeed(
    postgres: RunningPostgres, schema: str, opened, earlier: bool
) -> None:
    if earlier:
        connection = await asyncpg.connect(postgres.url(schema))
        await connection.execute(dump("postgres", with_open_jobs=True))
        await connection.close()
    storages = await asyncio.gather(*(opened(shared=True) for _ in range(5)))
    for each in storages:
        if earlier:
            await check_migrated(each, with_open_jobs=True, runtime="")
        else:
            await each.add_job(a_job())
    assert len({each.server_id for each in storages}) == 5


async def test_a_database_server_that_is_too_old_is_named(
    postgres: RunningPostgres, schema: str, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema_module, "OLDEST_SERVER", 99)
    for attempt in (opened, PostgresStorage(locate(postgres.url(schema))).check):
        with pytest.raises(StartupError, match=r"PostgreSQL 99 or later is needed"):
            await attempt()


async def test_an_exclusive_server_and_shared_ones_keep_each_other_out(opened) -> None:
    sharing = await opened(shared=True)
    with pytest.raises(StartupError, match="in use by another server"):
        await opened()
    await sharing.close()
    alone = await opened()
    with pytest.raises(StartupError, match="does not share it"):
        await opened(shared=True)
    await alone.close()
    await opened(shared=True)


async def test_an_incompatible_migration_does_not_run_beside_earlier_servers(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    await (await opened(shared=True)).close()
    await postgres.sql(f"DELETE FROM {schema}.evalhub_schema WHERE version >= 5")  # noqa: S608
    earlier = await asyncpg.connect(postgres.url(schema))
    try:
        await earlier.execute("SELECT pg_advisory_lock_shared($1)", Names.of(schema).server)
        with pytest.raises(StartupError, match="in use by a server of an earlier version"):
            await opened(shared=True)
    finally:
        await earlier.close()


@pytest.mark.parametrize(
    ("compatible_since", "accepted"), [("5", True), (str(NEWER), False), ("NULL", False)]
)
async def test_a_newer_schema_is_accepted_if_it_is_compatible(
    postgres: RunningPostgres, schema: str, opened, compatible_since: str, accepted: bool
) -> None:
    first = await opened(shared=True)
    await postgres.sql(f"INSERT INTO {schema}.evalhub_schema VALUES ({NEWER}, {compatible_since})")  # noqa: S608
    if accepted:
        second = await opened(shared=True)
        await second.add_job(a_job(id="job"))
        assert (await first.get_job("job", None)).id == "job"
    else:
        with pytest.raises(StartupError, match=f"schema version {NEWER}"):
            await opened(shared=True)


async def test_a_server_whose_database_was_migrated_while_it_was_cut_off_is_lost(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    first = await opened(shared=True)
    await first.verify()
    await postgres.sql(f"INSERT INTO {schema}.evalhub_schema VALUES ({NEWER}, {NEWER})")  # noqa: S608
    await first.verify()
    await postgres.cut_connections()
    with pytest.raises(StorageLost, match=f"schema version {NEWER}"):
        await first.verify()
    with pytest.raises(StorageLost, match=f"schema version {NEWER}"):
        await first.add_job(a_job())


async def rounds(done: list[int], tasks: list[asyncio.Task[None]]) -> None:
    """Wait until each of the tasks has done two more rounds."""
    before = list(done)
    while min(now - then for now, then in zip(done, before, strict=True)) < 2:
        assert not any(task.done() for task in tasks), await asyncio.gather(*tasks)
        await asyncio.sleep(0.01)


async def test_a_compatible_migration_beside_working_servers_fails_no_request(
    postgres: RunningPostgres, schema: str, opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = [await opened(shared=True) for _ in range(2)]
    lease = await acquired(servers[0])
    jobs = [a_job(size=2) for _ in range(4)]
    for job in jobs:
        await servers[0].add_job(job)
    done = [0, 0]
    stopped = False

    async def work(number: int, target: Storage) -> None:
        while not stopped:
            for job in jobs:
                await target.update_job(job.id, None, say(str(done)))
                await target.get_job(job.id, None)
            await target.list_jobs(JobQuery())
            await target.list_resources(ResourceQuery(kind=Kind.PROVIDER))
            done[number] += 1

    tasks = [
        asyncio.create_task(work(0, servers[0].fenced(lease))),
        asyncio.create_task(work(1, servers[1])),
    ]
    await rounds(done, tasks)
    next_migration = (
        "ALTER TABLE evalhub_jobs ADD COLUMN added text NOT NULL DEFAULT 'x'",
        "ALTER TABLE evalhub_jobs_benchmarks ADD COLUMN added integer",
        "ALTER TABLE evalhub_changes ADD COLUMN added integer",
        "CREATE INDEX evalhub_jobs_added ON evalhub_jobs (added)",
    )
    monkeypatch.setattr(schema_module, "MIGRATIONS", (*schema_module.MIGRATIONS, next_migration))
    newer = await opened(shared=True)
    (row,) = await postgres.sql(f"SELECT max(version) FROM {schema}.evalhub_schema")  # noqa: S608
    assert row["max"] == len(schema_module.MIGRATIONS)
    await rounds(done, tasks)
    stopped = True
    await asyncio.gather(*tasks)
    assert len((await newer.list_jobs(JobQuery())).items) == len(jobs)
    await servers[1].verify()


async def test_a_backup_beside_servers_is_possible_and_a_restoration_is_not(
    postgres: RunningPostgres, schema: str, opened, tmp_path: Path
) -> None:
    sharing = await opened(shared=True)
    await sharing.add_job(a_job(id="job"))
    other = PostgresStorage(locate(postgres.url(schema)), patience_s=0)
    await other.backup(tmp_path / "backup")
    with pytest.raises(StartupError, match="in use by another server"):
        await other.restore(tmp_path / "backup")
    found = []
    assert await other.examine(tmp_path / "backup", found.append) == []
    assert [record.id for record in found] == ["job"]
