"""Lists: what the SQL answers, and that an index serves it."""

from __future__ import annotations

import itertools
import random
import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import get_args

import pytest

from evalhub_server.domain.job_labels import JOB_LABELS
from evalhub_server.models.common import State
from evalhub_server.models.job import JobTest
from evalhub_server.plugins import JobFacetName, JobQuery, JobSort, Terms
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_server.testing.memory import MemoryStorage
from evalhub_storage_sqlite.facets import build_job_counts
from evalhub_storage_sqlite.sql_builder import build_job_list
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.sqlite import explain

FIELDS = ("status", "name", "tags", "owner", "experiment_id")
TESTS = [JobTest(score=score, threshold=0.5, passed=True) for score in (0.5, 0.5, -3.0, 80.0)]
FORMS = (
    None,
    Terms(values=("completed",)),
    Terms(values=("completed", "failed")),
    Terms(values=("completed", "failed"), every=True),
    Terms(values=("completed",), negated=True),
)


def queries(tenant: str | None) -> Iterator[JobQuery]:
    for forms in itertools.product(FORMS, repeat=len(FIELDS)):
        yield JobQuery(tenant=tenant, **dict(zip(FIELDS, forms, strict=True)))


@pytest.mark.parametrize("tenant", [None, "team-a"])
def test_no_combination_of_filters_scans_the_table(database: sqlite3.Connection, tenant: str | None) -> None:
    explained = 0
    for query in queries(tenant):
        if build_job_list(query) is None:
            continue
        explained += 1
        terms = [getattr(query, field) for field in FIELDS]
        # "Not the owner x" alone has to look at every job of the tenant; anything else has an index to search.
        searchable = tenant is not None or any(each is not None and not each.negated for each in terms)
        searchable |= query.status is not None
        for step in itertools.chain(*explain(database, build_job_list(query))):
            if re.match(r"SCAN (TABLE )?(jobs|j|job_labels|u)\b", step):
                assert "USING" in step, (query, step)
                assert not searchable, (query, step)
    assert explained > 1000


@pytest.mark.parametrize("tenant", [None, "team-a"])
@pytest.mark.parametrize("field", [*FIELDS, None])
def test_one_filter_reads_a_page_in_the_order_of_its_index(
    database: sqlite3.Connection, tenant: str | None, field: str | None
) -> None:
    query = JobQuery(tenant=tenant, **({field: FORMS[1]} if field else {}))
    count, page = explain(database, build_job_list(query))
    assert not any("TEMP B-TREE" in step for step in page)
    # The tables of counts, c, are small or searched by key.
    assert all("COVERING INDEX" in step or "PRIMARY KEY" in step or step == "SCAN c" for step in count)


LABEL_QUERIES = [
    JobQuery(labels={label: terms}, tags=tags, name=name)
    for label in JOB_LABELS
    for terms in FORMS[1:4]
    for tags in (None, FORMS[1], FORMS[4])
    for name in (None, FORMS[1])
]


def test_no_label_scans_the_table(database: sqlite3.Connection) -> None:
    for query in LABEL_QUERIES:
        for step in itertools.chain(*explain(database, build_job_list(query))):
            assert (
                "SCAN" not in step or "CO-ROUTINE" in step or re.search(r"SCAN \(subquery|SCAN l\b", step)
            ), step


@pytest.mark.parametrize("sort", ["created_at", "name", "score", "duration"])
@pytest.mark.parametrize("descending", [True, False])
def test_a_sort_reads_a_page_in_the_order_of_its_index(
    database: sqlite3.Connection, sort: JobSort, descending: bool
) -> None:
    _, page = explain(database, build_job_list(JobQuery(sort=sort, descending=descending)))
    assert not any("TEMP B-TREE" in step for step in page)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (JobQuery(pinned=True), "jobs_pinned"),
        (JobQuery(pinned=True, tenant="team-a"), "jobs_pinned"),
        (JobQuery(name_prefix="a"), "jobs_name"),
        (JobQuery(name_prefix="a", tenant="team-a"), "jobs_tenant_name"),
        (JobQuery(created_after=EPOCH), "jobs_time"),
        (JobQuery(created_before=EPOCH, tenant="team-a"), "jobs_tenant_time"),
    ],
)
def test_a_range_is_searched_in_its_index(database: sqlite3.Connection, query: JobQuery, index: str) -> None:
    for steps in explain(database, build_job_list(query)):
        assert any(re.search(rf"(SEARCH|SCAN) .*\b{index}\b", step) for step in steps), steps


COUNTED = [
    JobQuery(),
    JobQuery(tenant="team-a"),
    *(JobQuery(**{field: FORMS[1]}) for field in FIELDS),
    *(JobQuery(labels={label: FORMS[1]}) for label in JOB_LABELS),
    JobQuery(tenant="team-a", status=FORMS[1], tags=FORMS[3]),
    JobQuery(pinned=True),
    JobQuery(created_after=EPOCH),
]


@pytest.mark.parametrize("query", COUNTED)
def test_the_jobs_that_are_counted_are_read_in_the_order_of_an_index(
    database: sqlite3.Connection, query: JobQuery
) -> None:
    queries = build_job_counts(query, get_args(JobFacetName), 10)
    total = build_job_counts(query, (), 10)
    assert queries is not None
    assert total is not None
    plan = database.execute(f"EXPLAIN QUERY PLAN {total.columns}", total.parameters)
    steps = [step for _id, _parent, _unused, step in plan]
    assert not any("TEMP B-TREE" in step for step in steps), steps
    for sql in (queries.columns, queries.labels):
        plan = database.execute(f"EXPLAIN QUERY PLAN {sql}", queries.parameters)
        steps = [step for _id, _parent, _unused, step in plan]
        # The values of the selected jobs are looked up; a temporary tree groups them.
        assert any(
            re.match(r"SEARCH (j USING INTEGER PRIMARY KEY|u USING COVERING INDEX job_labels_seq)", s)
            for s in steps
        )
        assert [step for step in steps if "TEMP B-TREE" in step] in ([], ["USE TEMP B-TREE FOR GROUP BY"]), (
            steps
        )


def test_open_jobs_have_an_index_of_their_own(database: sqlite3.Connection) -> None:
    (step,) = database.execute(
        "EXPLAIN QUERY PLAN SELECT id FROM jobs INDEXED BY jobs_open WHERE is_open = 1 ORDER BY created_at, id"
    )
    assert "jobs_open" in step[3]


@pytest.mark.parametrize("field", FIELDS)
def test_any_of_nothing_matches_nothing_and_none_of_nothing_everything(field: str) -> None:
    assert build_job_list(JobQuery(**{field: Terms(values=())})) is None
    for terms in (Terms(values=(), every=True), Terms(values=(), negated=True)):
        assert build_job_list(JobQuery(**{field: terms})) == build_job_list(JobQuery())


@pytest.mark.slow
async def test_random_queries_answer_as_the_reference_does(memory: SqliteStorage) -> None:
    chance = random.Random(11)  # noqa: S311 - the same run every time
    pools = {
        "status": [state.value for state in State] + ["unheard of"],
        "name": ["a", "b", "c"],
        "tags": ["x", "y", "z"],
        "owner": ["", "ada", "bob"],
        "experiment_id": ["", "1", "2"],
    }
    reference = MemoryStorage()
    for _ in range(150):
        job = a_job(
            tenant=chance.choice(["", "team-a", "team-b"]),
            state=chance.choice(list(State)),
            name=chance.choice(pools["name"]),
            tags=tuple(chance.choices(pools["tags"], k=chance.randrange(4))),
            owner=chance.choice(pools["owner"]),
            experiment_id=chance.choice(pools["experiment_id"]),
            derived_from=chance.choice(["", "a", "b"]),
            pinned=chance.random() < 0.3,
            size=chance.randrange(1, 3),
            test=chance.choice([None, *TESTS]),
        )
        await memory.add_job(job)
        await reference.add_job(job)
    for _ in range(1500):
        terms = {
            field: Terms(
                values=tuple(chance.choices(pool, k=chance.randrange(4))),
                every=chance.random() < 0.3,
                negated=chance.random() < 0.3,
            )
            for field, pool in pools.items()
            if chance.random() < 0.35
        }
        query = JobQuery(
            tenant=chance.choice([None, "team-a", ""]),
            limit=chance.choice([0, 1, 7, 1000]),
            offset=chance.choice([0, 0, 3]),
            labels={
                label: Terms(
                    values=tuple(chance.choices(["a", "b", "bench-0", "bench-1", "provider-a"], k=2)),
                    every=chance.random() < 0.3,
                    negated=chance.random() < 0.3,
                )
                for label in JOB_LABELS
                if chance.random() < 0.1
            },
            name_prefix=chance.choice(["", "", "a", "z"]),
            created_after=chance.choice([None, None, EPOCH + timedelta(seconds=chance.randrange(200))]),
            created_before=chance.choice([None, None, EPOCH + timedelta(seconds=chance.randrange(200))]),
            pinned=chance.choice([None, None, True, False]),
            sort=chance.choice(["created_at", "created_at", "name", "score", "duration"]),
            descending=chance.random() < 0.7,
            **terms,
        )
        assert await memory.list_jobs(query) == await reference.list_jobs(query), query
        facets = chance.sample(get_args(JobFacetName), k=2)
        counted = await memory.count_jobs(query, facets, 100)
        assert counted == await reference.count_jobs(query, facets, 100), query
