"""How the database finds what lists show, by its own account, with tables that are not small."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import msgspec
import pytest

from evalhub_server.domain.resource import Kind
from evalhub_server.plugins import JobFacetName, JobQuery, JobSort, ResourceQuery
from evalhub_server.testing.builders import all_of, any_of
from evalhub_storage_postgres import job_lists, jobs, resources
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import RunningPostgres

FILL = """
    INSERT INTO {schema}.evalhub_jobs
    SELECT 'job-' || n, 'tenant-' || n % 50, 'owner-' || n % 500, 'name-' || n % 2000,
        CASE WHEN n % 200 = 0 THEN 'running' ELSE 'completed' END, CASE WHEN n % 9 = 0 THEN (n % 900)::text ELSE '' END,
        ARRAY['tag-' || n % 300, 'all'], timestamptz '2026-01-01' + n * interval '1 minute', n % 200 = 0,
        decode(repeat(md5(n::text), 16), 'hex'), decode(repeat(md5(n::text), 8), 'hex'),
        ARRAY['model_name=model-' || n % 300], n % 1000 / 1000.0, n % 700, n % 500 = 0
    FROM generate_series(1, 20000) n
"""
FILL_RESOURCES = """
    INSERT INTO {schema}.evalhub_resources
    SELECT CASE WHEN n % 2 = 0 THEN 'provider' ELSE 'collection' END, 'id-' || n, 'tenant-' || n % 50,
        CASE WHEN n % 1000 < 2 THEN 'system' ELSE 'owner-' || n % 500 END, 'name-' || n, 'category-' || n % 30,
        ARRAY['tags=tag-' || n % 300], 0, 0, timestamptz '2026-01-01' + n * interval '1 minute',
        timestamptz '2026-01-01' + n * interval '1 minute', 0, decode(repeat(md5(n::text), 32), 'hex')
    FROM generate_series(1, 20000) n
"""

JOBS: dict[str, JobQuery] = {
    "all": JobQuery(),
    "tenant": JobQuery(tenant="tenant-7"),
    "deep": JobQuery(tenant="tenant-7", offset=300),
    "state": JobQuery(status=any_of("running")),
    "states": JobQuery(status=any_of("running", "pending")),
    "tenant's state": JobQuery(tenant="tenant-0", status=any_of("running")),
    "name": JobQuery(name=any_of("name-7")),
    "owner": JobQuery(tenant="tenant-7", owner=any_of("owner-7")),
    "experiment": JobQuery(experiment_id=any_of("9")),
    "tag": JobQuery(tags=any_of("tag-7")),
    "label": JobQuery(labels={"model_name": any_of("model-7")}),
    "prefix": JobQuery(name_prefix="name-19"),
    "pinned": JobQuery(pinned=True),
    "tags": JobQuery(tenant="tenant-7", tags=all_of("tag-7", "all")),
}
PROVIDERS = ResourceQuery(kind=Kind.PROVIDER)
RESOURCES: dict[str, Any] = {
    "all": {},
    "tenant": {"tenant": "tenant-8"},
    "system": {"system": True},
    "name": {"name": any_of("name-8")},
    "category": {"category": any_of("category-8")},
    "tag": {"labels": {"tags": any_of("tag-8")}},
    "updated": {"sort": "updated_at"},
}


@pytest.fixture(scope="module")
def filled(postgres: RunningPostgres) -> str:
    """The name of a schema with 20,000 jobs and 10,000 of each kind of resource."""
    return asyncio.run(_fill(postgres))


async def _fill(postgres: RunningPostgres) -> str:
    schema = await postgres.new_schema()
    storage = PostgresStorage(locate(postgres.url(schema)))
    await storage.open()
    await storage.close()
    for table, statement in (("jobs", FILL), ("resources", FILL_RESOURCES)):
        await postgres.sql(statement.format(schema=schema))
        await postgres.sql(f"VACUUM ANALYZE {schema}.evalhub_{table}")
    await storage.open()
    async with asyncio.timeout(30):
        while await postgres.sql(f"SELECT FROM {schema}.evalhub_job_count_changes"):
            await asyncio.sleep(0.05)  # until the numbers of jobs are folded
    await storage.close()
    await postgres.sql(f"VACUUM ANALYZE {schema}.evalhub_job_counts")
    return schema


async def explained(postgres: RunningPostgres, schema: str, sql: str, values: list[Any]) -> str:
    sql = sql.replace("FROM evalhub_", f"FROM {schema}.evalhub_")
    return "\n".join(row[0] for row in await postgres.sql(f"EXPLAIN {sql}", *values))


@pytest.mark.parametrize("name", JOBS)
async def test_no_list_of_jobs_reads_the_whole_table(
    postgres: RunningPostgres, filled: str, name: str
) -> None:
    plan = await explained(postgres, filled, *job_lists.listing(JOBS[name]))
    assert "Seq Scan on evalhub_jobs" not in plan, plan


@pytest.mark.parametrize(
    "name", ["all", "tenant", "deep", "state", "states", "tenant's state", "tag", "label"]
)
async def test_the_total_of_an_ordinary_list_is_not_counted(
    postgres: RunningPostgres, filled: str, name: str
) -> None:
    plan = await explained(postgres, filled, *job_lists.listing(JOBS[name]))
    assert plan.count("evalhub_jobs ") + plan.count("on evalhub_jobs\n") == 1, plan  # the page
    assert "evalhub_job_counts_pkey" in plan, plan


@pytest.mark.parametrize("name", JOBS)
async def test_no_count_of_jobs_reads_the_whole_table(
    postgres: RunningPostgres, filled: str, name: str
) -> None:
    plan = await explained(postgres, filled, *job_lists.counting(JOBS[name], get_args(JobFacetName), 100))
    assert "Seq Scan" not in plan, plan


@pytest.mark.parametrize("name", RESOURCES)
async def test_no_list_of_resources_reads_the_whole_table(
    postgres: RunningPostgres, filled: str, name: str
) -> None:
    query = msgspec.structs.replace(PROVIDERS, **RESOURCES[name])
    plan = await explained(postgres, filled, *resources.listing(query))
    assert "Seq Scan" not in plan, plan


async def test_a_page_of_a_tenants_jobs_is_read_in_the_order_of_the_index(
    postgres: RunningPostgres, filled: str
) -> None:
    plan = await explained(postgres, filled, *job_lists.listing(JOBS["tenant"]))
    assert "Index Scan Backward using evalhub_jobs_tenant" in plan, plan


@pytest.mark.parametrize("sort", ["score", "duration"])
@pytest.mark.parametrize("descending", [True, False])
async def test_a_sorted_page_is_read_in_the_order_of_its_index(
    postgres: RunningPostgres, filled: str, sort: JobSort, descending: bool
) -> None:
    query = JobQuery(sort=sort, descending=descending)
    plan = await explained(postgres, filled, *job_lists.listing(query))
    assert f"Index Scan using evalhub_jobs_{sort}{'' if descending else '_up'}" in plan, plan


async def test_the_open_jobs_have_an_index(postgres: RunningPostgres, filled: str) -> None:
    plan = await explained(postgres, filled, jobs.OPEN, [])
    assert "evalhub_jobs_open" in plan, plan
