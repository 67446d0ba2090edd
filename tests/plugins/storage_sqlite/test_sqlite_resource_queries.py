"""Lists of providers and collections: what the SQL answers, and that an index serves it."""

from __future__ import annotations

import itertools
import random
import re
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from typing import get_args

import msgspec
import pytest

from evalhub_server.domain.resource import TAXONOMY, Kind
from evalhub_server.plugins import ResourceQuery, Sort, Terms
from evalhub_server.testing.builders import EPOCH, a_collection, a_provider, all_of, any_of, none_of
from evalhub_server.testing.memory import MemoryStorage
from evalhub_storage_sqlite.sql_builder import build_resource_list, cache_key
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.sqlite import explain

FORMS = (None, any_of("a"), any_of("a", "b"), none_of("a"))
SORTS: tuple[Sort, ...] = get_args(Sort)
ALL = ResourceQuery(kind=Kind.COLLECTION)


def queries(sort: Sort) -> Iterator[ResourceQuery]:
    for name, owner, category, tags, tasks, tenant, system, descending in itertools.product(
        FORMS,
        FORMS,
        FORMS,
        (*FORMS, all_of("a", "b")),
        FORMS,
        (None, "team-a"),
        (None, True, False),
        (True, False),
    ):
        labels = {"tags": tags, "tasks": tasks}
        yield ResourceQuery(
            kind=Kind.COLLECTION,
            tenant=tenant,
            system=system,
            name=name,
            owner=owner,
            category=category,
            labels={label: terms for label, terms in labels.items() if terms},
            sort=sort,
            descending=descending,
        )


def looks_up(step: str) -> bool:
    """Does the step find rows by more than their kind?"""
    return bool(re.search(r"USING INTEGER PRIMARY KEY|\(kind=\? AND |\(label=\? AND value=\?\)", step))


@pytest.mark.parametrize(
    "sort", [SORTS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in SORTS[1:])]
)
def test_no_combination_reads_all_resources_where_an_index_can_serve(
    database: sqlite3.Connection, sort: Sort
) -> None:
    for query in queries(sort):
        filters = (query.name, query.owner, query.category, *query.labels.values())
        searchable = (
            query.tenant is not None or query.system or any(each and not each.negated for each in filters)
        )
        for step in itertools.chain(*explain(database, build_resource_list(query))):
            assert not step.startswith("SCAN"), (query, step)
            if searchable and step.startswith("SEARCH"):
                assert looks_up(step), (query, step)


@pytest.mark.parametrize(
    "query",
    [
        ALL,
        msgspec.structs.replace(ALL, system=True),
        msgspec.structs.replace(ALL, system=True, tenant="team-a"),
        msgspec.structs.replace(ALL, system=False, tenant="team-a"),
        msgspec.structs.replace(ALL, name=any_of("a")),
        msgspec.structs.replace(ALL, owner=any_of("a")),
        msgspec.structs.replace(ALL, category=any_of("a"), tenant="team-a"),
        msgspec.structs.replace(ALL, sort="updated_at"),
        msgspec.structs.replace(ALL, sort="name", descending=False),
        msgspec.structs.replace(ALL, sort="curation_order", descending=False),
    ],
)
def test_a_page_is_read_in_the_order_of_its_index(database: sqlite3.Connection, query: ResourceQuery) -> None:
    count, page = explain(database, build_resource_list(query))
    assert not any("TEMP B-TREE" in step for step in page)
    assert all("COVERING INDEX" in step for step in count)


@pytest.mark.parametrize("sort", ["created_at", "updated_at", "name"])
def test_the_other_direction_sorts_only_what_is_equal(database: sqlite3.Connection, sort: Sort) -> None:
    for descending in (True, False):
        query = msgspec.structs.replace(ALL, sort=sort, descending=descending)
        _, page = explain(database, build_resource_list(query))
        assert "USE TEMP B-TREE FOR ORDER BY" not in page


def test_what_the_system_has_is_found_by_its_owner(database: sqlite3.Connection) -> None:
    (step,) = database.execute("EXPLAIN QUERY PLAN SELECT kind, id FROM resources WHERE owner = 'system'")
    assert "COVERING INDEX" in step[3]


def test_any_of_nothing_matches_no_resource_and_none_of_nothing_all() -> None:
    for field in ("name", "owner", "category"):
        assert build_resource_list(msgspec.structs.replace(ALL, **{field: Terms(values=())})) is None
        for terms in (all_of(), none_of()):
            query = msgspec.structs.replace(ALL, **{field: terms})
            assert build_resource_list(query) == build_resource_list(ALL)
    assert build_resource_list(msgspec.structs.replace(ALL, labels={"tags": any_of()})) is None
    assert build_resource_list(
        msgspec.structs.replace(ALL, labels={"tags": none_of()})
    ) == build_resource_list(ALL)


def test_every_part_of_a_query_tells_its_answer_from_others() -> None:
    others = (
        {"kind": Kind.PROVIDER},
        {"tenant": ""},
        {"limit": 1},
        {"offset": 1},
        {"system": True},
        {"system": False},
        {"name": any_of("a")},
        {"owner": any_of("a")},
        {"category": any_of("a")},
        {"labels": {"tags": any_of("a")}},
        {"labels": {"tags": all_of("a")}},
        {"labels": {"tasks": any_of("a")}},
        {"labels": {"tags": any_of("a"), "tasks": any_of("a")}},
        {"sort": "name"},
        {"descending": False},
    )
    assert {field for other in others for field in other} == {*ResourceQuery.__struct_fields__}
    found = [ALL, *(msgspec.structs.replace(ALL, **other) for other in others)]
    assert len({cache_key(query) for query in found}) == len(found)
    assert cache_key(ALL) == cache_key(ResourceQuery(kind=Kind.COLLECTION))


@pytest.mark.slow
async def test_random_lists_of_resources_are_as_the_reference_has_them(memory: SqliteStorage) -> None:
    chance = random.Random(13)  # noqa: S311 - the same run every time
    words = ["", "a", "b", "c", "system"]
    reference = MemoryStorage()

    def some() -> tuple[str, ...]:
        return tuple(chance.choices(words[1:4], k=chance.randrange(4)))

    def terms() -> Terms:
        return Terms(
            values=tuple(chance.choices(words, k=chance.randrange(4))),
            every=chance.random() < 0.3,
            negated=chance.random() < 0.3,
        )

    for _ in range(200):
        owner = chance.choice(words)
        fields = {
            "owner": owner,
            "tenant": "" if owner == "system" else chance.choice(["", "team-a", "team-b"]),
            "name": chance.choice(words),
            "created_at": EPOCH + timedelta(days=chance.randrange(9)),
        }
        config = {name: some() for name in ("tags", *TAXONOMY)}
        collection = a_collection(
            **fields,
            category=chance.choice(words),
            pinned_order=chance.randrange(3),
            config={**config, "curation_order": chance.randrange(3)},
        )
        record = chance.choice([collection, a_provider(**fields, tags=some())])
        record = msgspec.structs.replace(
            record, updated_at=record.created_at + timedelta(days=chance.randrange(3))
        )
        await memory.add_resource(record)
        await reference.add_resource(record)
    for _ in range(2000):
        query = ResourceQuery(
            kind=chance.choice(list(Kind)),
            tenant=chance.choice([None, "team-a", ""]),
            limit=chance.choice([0, 1, 7, 1000]),
            offset=chance.choice([0, 0, 3]),
            system=chance.choice([None, None, True, False]),
            labels={name: terms() for name in ("tags", *TAXONOMY, "unheard") if chance.random() < 0.15},
            sort=chance.choice(SORTS),
            descending=chance.choice([True, False]),
            **{name: terms() for name in ("name", "owner", "category") if chance.random() < 0.25},
        )
        assert await memory.list_resources(query) == await reference.list_resources(query), query
