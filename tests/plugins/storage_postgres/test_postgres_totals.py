"""Totals of lists from stored numbers, which changes are folded into."""

from __future__ import annotations

import asyncio
import random
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from evalhub_server.domain.record import with_changes
from evalhub_server.plugins import JobMigration, JobQuery, JobRecord, State, Storage
from evalhub_server.testing.builders import a_job, all_of, any_of, none_of
from evalhub_storage_postgres import storage as storage_module
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.schema import MIGRATIONS, migrate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.earlier_database import dump
from harness.postgres import RunningPostgres

TENANTS = ["", "team-a", "team-b"]
TAGS = ["x", "y", "a=b", "long " * 200, "nul\0"]
STATES = [State.PENDING, State.RUNNING, State.COMPLETED]
QUERIES = [
    JobQuery(tenant=tenant, status=states, **filters)
    for tenant, states, filters in product(
        [None, *TENANTS],
        [None, any_of("pending"), any_of("running", "completed"), none_of("completed"), any_of()],
        [
            {},
            *({"tags": any_of(tag)} for tag in TAGS),
            {"tags": all_of("x", "y")},
            {"tags": any_of("x", "y")},
            {"tags": none_of("x")},
            {"tags": any_of()},
            {"labels": {"provider_id": any_of("provider-a")}},
            {"labels": {"model_name": any_of("unknown")}},
            {"tags": any_of("x"), "labels": {"provider_id": any_of("provider-a")}},
        ],
    )
]


@pytest.fixture(autouse=True)
def soon_folded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_FOLD_S", 0.01)


async def numbers(postgres: RunningPostgres, schema: str, table: str) -> list[tuple[Any, ...]]:
    rows = await postgres.sql(f"SELECT * FROM {schema}.evalhub_job_{table}")  # noqa: S608
    return [tuple(row) for row in rows]


async def folded(postgres: RunningPostgres, schema: str) -> list[tuple[Any, ...]]:
    """Wait until all changes are folded; returns the numbers."""
    async with asyncio.timeout(30):
        while await numbers(postgres, schema, "count_changes"):
            await asyncio.sleep(0.01)
    return await numbers(postgres, schema, "counts")


async def check_totals(storage: Storage, jobs: dict[str, JobRecord]) -> None:
    """Assert that each total is that of the jobs that match, which one page has all of."""
    for query in QUERIES:
        page = await storage.list_jobs(msgspec.structs.replace(query, limit=1_000))
        assert page.total_count == len(page.items), query
    whole = await storage.list_jobs(JobQuery(limit=1))
    assert whole.total_count == len(jobs)


def retagged(job: JobRecord, tags: tuple[str, ...]) -> JobRecord:
    replace = msgspec.structs.replace
    definition = replace(job.definition, request=replace(job.request, tags=tags))
    return replace(job, definition=definition)


async def test_totals_are_right_whatever_is_written_and_folded(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    choose = random.Random(17)  # noqa: S311 - no secret
    storage = await opened()
    jobs: dict[str, JobRecord] = {}
    for step in range(120):
        kind = choose.choice(["add", "add", "state", "state", "tags", "delete"])
        if kind == "add" or not jobs:
            tags = tuple(choose.sample(TAGS, choose.randrange(4)))
            job = a_job(tenant=choose.choice(TENANTS), state=choose.choice(STATES), tags=tags)
            await storage.add_job(job)
        else:
            job = choose.choice(list(jobs.values()))
            if kind == "delete":
                await storage.delete_job(job.id, None)
                del jobs[job.id]
                continue
            state, tags = choose.choice(STATES), tuple(choose.sample(TAGS, choose.randrange(4)))
            job = with_changes(job, state=state) if kind == "state" else retagged(job, tags)
            await storage.update_job(job.id, None, lambda _, job=job: job)
        jobs[job.id] = job
        if step % 30 == 0:
            await check_totals(storage, jobs)
    await check_totals(storage, jobs)
    await folded(postgres, schema)
    await check_totals(storage, jobs)
    for job_id in jobs:
        await storage.delete_job(job_id, None)
    assert await folded(postgres, schema) == []


async def test_totals_are_exact_while_several_servers_write_and_fold(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    servers = [await opened(shared=True) for _ in range(3)]

    async def write(storage: Storage) -> None:
        for _ in range(40):
            job = a_job(tags=("x",))
            await storage.add_job(job)
            await storage.update_job(job.id, None, lambda job: with_changes(job, state=State.COMPLETED))

    tasks = [asyncio.create_task(write(each)) for each in servers]
    seen = 0
    while not all(task.done() for task in tasks):
        for query in (
            JobQuery(limit=1_000),
            JobQuery(tags=any_of("x"), status=any_of("completed"), limit=1_000),
        ):
            page = await servers[0].list_jobs(query)
            assert page.total_count == len(page.items)
            seen += 1
    await asyncio.gather(*tasks)
    assert seen > 2
    counts = await folded(postgres, schema)
    assert ("tags=x", "", "completed", 120) in counts
    assert {state for _, _, state, _ in counts} == {"completed"}


async def test_jobs_that_other_programs_write_are_counted(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    """Such as a server of an earlier version, or an administrator whose session has another search path."""
    storage = await opened()
    jobs = [a_job(), a_job()]
    for job in jobs:
        await storage.add_job(job)
    await postgres.sql(f"DELETE FROM {schema}.evalhub_jobs WHERE id = $1", jobs[0].id)  # noqa: S608
    assert (await storage.list_jobs(JobQuery())).total_count == 1


@pytest.mark.parametrize("version", [1, 5])
async def test_jobs_of_an_earlier_schema_are_counted(
    postgres: RunningPostgres, schema: str, opened, version: int
) -> None:
    connection = await asyncpg.connect(postgres.url(schema))
    await connection.execute(dump("postgres", with_open_jobs=True))
    if version > 1:
        async with (
            asyncpg.create_pool(postgres.url(schema), min_size=1, max_size=1) as pool,
            pool.acquire() as session,
            session.transaction(),
        ):
            await migrate(session, "", JobMigration(), MIGRATIONS[:version])
    await connection.close()
    storage = await opened()
    jobs = (await storage.list_jobs(JobQuery())).items
    assert len(jobs) > 3
    await check_totals(storage, {job.id: job for job in jobs})


async def test_restored_jobs_are_counted(
    postgres: RunningPostgres, schema: str, opened, tmp_path: Path
) -> None:
    storage = await opened()
    jobs = {job.id: job for job in (a_job(tags=("x",)), a_job(state=State.COMPLETED))}
    for job in jobs.values():
        await storage.add_job(job)
    before = await folded(postgres, schema)
    await storage.backup(tmp_path / "backup")
    other = await postgres.new_schema()
    restored = PostgresStorage(locate(postgres.url(other)), patience_s=0)
    await restored.restore(tmp_path / "backup")
    await restored.open()
    await check_totals(restored, jobs)
    assert sorted(await folded(postgres, other)) == sorted(before)
    await restored.close()
