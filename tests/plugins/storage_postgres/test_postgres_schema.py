"""Databases of earlier schema versions."""

from __future__ import annotations

import asyncpg
import pytest

from evalhub_server.plugins import JobMigration, JobQuery
from evalhub_storage_postgres import schema as schema_module
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.earlier_database import check_migrated, dump
from harness.postgres import RunningPostgres


async def restore(postgres: RunningPostgres, schema: str, sql: str) -> None:
    connection = await asyncpg.connect(postgres.url(schema))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


@pytest.mark.parametrize("runtime", ["local", ""])
@pytest.mark.parametrize("with_open_jobs", [True, False])
async def test_a_database_of_schema_version_1_keeps_everything(
    postgres: RunningPostgres, schema: str, runtime: str, with_open_jobs: bool
) -> None:
    await restore(postgres, schema, dump("postgres", with_open_jobs=with_open_jobs))
    migration = JobMigration(runtime=runtime, tracker="mlflow" if runtime else "")
    storage = PostgresStorage(locate(postgres.url(schema)), patience_s=0, migration=migration)
    for _ in range(2):
        await storage.open()
        await check_migrated(storage, with_open_jobs=with_open_jobs, runtime=runtime)
        await storage.close()


async def test_an_unreadable_job_does_not_keep_a_database_from_being_migrated(
    postgres: RunningPostgres, schema: str
) -> None:
    await restore(postgres, schema, dump("postgres", with_open_jobs=True))
    await postgres.sql(f"UPDATE {schema}.evalhub_jobs SET progress = '{{' WHERE id = 'pending'")  # noqa: S608
    storage = PostgresStorage(locate(postgres.url(schema)), patience_s=0)
    await storage.open()
    assert [job.id for job in await storage.open_jobs()] == ["running", "exporting"]
    await storage.delete_job("pending", None)
    await storage.close()


async def test_a_migration_may_take_longer_than_other_statements(
    opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = (*schema_module.MIGRATIONS, ("SELECT pg_sleep(3)",))
    monkeypatch.setattr(schema_module, "MIGRATIONS", slow)
    storage = await opened(timeout_s=2)
    assert (await storage.list_jobs(JobQuery())).total_count == 0
