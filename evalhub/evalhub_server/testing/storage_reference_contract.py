"""Contract tests that compare a storage with the reference in memory; a part of ``StorageContract``.

Records and queries are random, and the same in every run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any, get_args

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.resource import AnyResource, BaselineRecord, Kind
from evalhub_server.errors import AlreadyExists
from evalhub_server.models.baseline import BaselineConfig
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import (
    JobFacetName,
    JobQuery,
    JobSort,
    ResourceQuery,
    Sort,
    Storage,
    Terms,
)
from evalhub_server.testing.builders import EPOCH, a_collection, a_finished_job, a_job, a_provider
from evalhub_server.testing.contract import Contract
from evalhub_server.testing.memory import MemoryStorage

RECORDS, QUERIES = 30, 50
WORDS = ("", "a", "b", "B", "ab", "a%", "å", "\N{PILE OF POO}")
TENANTS = ("", "team-a", "team-b")


def _terms(chance: Random, words: Sequence[str] = WORDS) -> Terms | None:
    """Return a filter, half of the time."""
    if chance.random() < 0.5:
        return None
    values = tuple(chance.choices(words, k=chance.randrange(1, 3)))
    return Terms(values=values, every=chance.random() < 0.3, negated=chance.random() < 0.3)


def _labels(chance: Random, names: Sequence[str]) -> dict[str, Terms]:
    found = ((name, _terms(chance)) for name in chance.sample(names, 1))
    return {name: terms for name, terms in found if terms is not None}


def _moment(chance: Random) -> Any:
    return EPOCH + timedelta(seconds=chance.randrange(8))


def random_job(chance: Random, number: int) -> JobRecord:
    """Return a job with few different values, so that filters match and orders have ties."""
    fields: dict[str, Any] = {
        "id": f"{chance.choice('abc')}{number}",
        "name": chance.choice(WORDS),
        "tags": tuple(chance.choices(WORDS, k=chance.randrange(3))),
        "tenant": chance.choice(TENANTS),
        "owner": chance.choice(WORDS),
        "created_at": _moment(chance),
        "experiment_id": chance.choice(WORDS),
        "pinned": chance.random() < 0.3,
        "derived_from": chance.choice(WORDS),
        "lineage": chance.choice(WORDS),
    }
    if chance.random() < 0.4:
        return a_finished_job(score=chance.choice([0.25, 0.5, 0.75]), **fields)
    return a_job(state=chance.choice(list(State)), size=chance.randrange(1, 3), **fields)


def random_job_query(chance: Random) -> JobQuery:
    sort, descending = chance.choice(get_args(JobSort)), chance.random() < 0.5
    if chance.random() < 0.3:
        return JobQuery(sort=sort, descending=descending)
    moments = sorted((_moment(chance), _moment(chance)))
    return JobQuery(
        tenant=chance.choice([None, *TENANTS]),
        limit=chance.choice([0, 1, 3, 50, 50, 50]),
        offset=chance.choice([0, 0, 0, 1, 5]),
        status=_terms(chance, [state.value for state in State]) if chance.random() < 0.4 else None,
        name=_terms(chance) if chance.random() < 0.4 else None,
        tags=_terms(chance) if chance.random() < 0.4 else None,
        owner=_terms(chance) if chance.random() < 0.3 else None,
        experiment_id=_terms(chance) if chance.random() < 0.2 else None,
        labels=_labels(chance, ["derived_from", "lineage", "model_name"]) if chance.random() < 0.3 else {},
        name_prefix=chance.choice(["", "", "", "a", "B", "å"]),
        created_after=moments[0] if chance.random() < 0.2 else None,
        created_before=moments[1] if chance.random() < 0.2 else None,
        pinned=chance.choice([None, None, True, False]),
        sort=sort,
        descending=descending,
    )


def random_resource(chance: Random, number: int) -> AnyResource:
    fields: dict[str, Any] = {
        "id": f"{chance.choice('abc')}{number}",
        "tenant": chance.choice(TENANTS),
        "owner": chance.choice(WORDS),
        "created_at": _moment(chance),
        "updated_at": _moment(chance),
    }
    name, tags = chance.choice(WORDS), tuple(chance.choices(WORDS, k=chance.randrange(3)))
    match chance.choice(list(Kind)):
        case Kind.PROVIDER:
            return a_provider(name=name, tags=tags, **fields)
        case Kind.COLLECTION:
            config = {"tags": tags, "curation_order": chance.randrange(3)}
            pinned, category = chance.randrange(3), chance.choice(WORDS)
            return a_collection(name=name, category=category, config=config, pinned_order=pinned, **fields)
        case Kind.BASELINE:
            return BaselineRecord(config=BaselineConfig(name=name, job_id="a-job"), **fields)


def random_resource_query(chance: Random) -> ResourceQuery:
    kind, sort = chance.choice(list(Kind)), chance.choice(get_args(Sort))
    descending = chance.random() < 0.5
    if chance.random() < 0.5:
        return ResourceQuery(kind=kind, sort=sort, descending=descending)
    return ResourceQuery(
        kind=kind,
        tenant=chance.choice([None, *TENANTS]),
        limit=chance.choice([0, 1, 3, 50, 50, 50]),
        offset=chance.choice([0, 0, 0, 1, 5]),
        system=chance.choice([None, None, True, False]),
        name=_terms(chance) if chance.random() < 0.2 else None,
        owner=_terms(chance) if chance.random() < 0.2 else None,
        category=_terms(chance) if chance.random() < 0.2 else None,
        labels=_labels(chance, ["tags", "domains"]) if chance.random() < 0.3 else {},
        sort=sort,
        descending=descending,
    )


@pytest.mark.asyncio
class StorageReferenceContract(Contract):
    """A base class of ``StorageContract``, which provides the fixture."""

    async def test_lists_and_counts_of_jobs_are_those_of_the_reference(self, storage: Storage) -> None:
        chance = Random(11)  # noqa: S311  the same run every time
        reference = MemoryStorage()
        jobs = [random_job(chance, number) for number in range(RECORDS)]
        for job in jobs:
            other = random_job(chance, 0)
            changed = with_changes(
                job, state=other.state, pinned=other.progress.pinned, benchmarks=other.benchmarks
            )
            for each in (storage, reference):
                await each.add_job(job)
                if other.progress.pinned:
                    await each.update_job(job.id, None, lambda _, changed=changed: changed)
                if other.tenant == TENANTS[1]:
                    await each.delete_job(job.id, job.tenant)
        for _ in range(QUERIES):
            query = random_job_query(chance)
            found, expected = await storage.list_jobs(query), await reference.list_jobs(query)
            assert _ids(found.items) == _ids(expected.items), f"list_jobs({query})"
            assert found.items == expected.items, f"records of list_jobs({query})"
            assert found.total_count == expected.total_count, f"total_count of list_jobs({query})"
            facets, number = chance.sample(get_args(JobFacetName), 2), chance.choice([1, 5, 100])
            counts = await storage.count_jobs(query, facets, number)
            assert counts == await reference.count_jobs(query, facets, number), (
                f"count_jobs({query}, {number})"
            )
        assert await storage.open_jobs() == await reference.open_jobs(), "open_jobs()"

    async def test_lists_of_resources_are_those_of_the_reference(self, storage: Storage) -> None:
        chance = Random(13)  # noqa: S311  the same run every time
        reference = MemoryStorage()
        resources = [random_resource(chance, number) for number in range(RECORDS)]
        system = [
            msgspec.structs.replace(
                random_resource(chance, number), id=f"s{number}", owner="system", tenant=""
            )
            for number in range(8)
        ]
        system = [each for each in system if not isinstance(each, BaselineRecord)]
        for each in (storage, reference):
            for record in resources:
                await each.add_resource(record)
            await each.replace_system(system)
        for _ in range(2 * QUERIES):
            query = random_resource_query(chance)
            found, expected = await storage.list_resources(query), await reference.list_resources(query)
            assert _ids(found.items) == _ids(expected.items), f"list_resources({query})"
            assert found.items == expected.items, f"records of list_resources({query})"
            assert found.total_count == expected.total_count, f"total_count of list_resources({query})"

    async def test_a_job_with_an_idempotency_key_is_created_once(self, storage: Storage) -> None:
        """The id is derived from the key, and the digest of the request tells repeats from other requests."""
        jobs = [a_job(id="of-a-key", request_digest=f"digest {number}") for number in range(8)]
        results = await asyncio.gather(*map(storage.add_job, jobs), return_exceptions=True)
        created = [job for job, result in zip(jobs, results, strict=True) if result is None]
        assert len(created) == 1, f"jobs created with one idempotency key: {len(created)}"
        refused = [type(result) for result in results if result is not None]
        assert refused == [AlreadyExists] * 7, f"errors of the others: {refused}"
        kept = await storage.get_job("of-a-key", None)
        assert kept.definition.request_digest == created[0].definition.request_digest

    async def test_a_baseline_is_created_once_and_can_move(self, storage: Storage) -> None:
        record = BaselineRecord(
            id="a", created_at=EPOCH, updated_at=EPOCH, config=BaselineConfig(name="main", job_id="first")
        )
        results = await asyncio.gather(
            *(storage.add_resource(record) for _ in range(5)), return_exceptions=True
        )
        assert [type(each) for each in results].count(AlreadyExists) == 4, f"adds of one baseline: {results}"
        moved = msgspec.structs.replace(record, config=BaselineConfig(name="main", job_id="second"))
        await storage.update_resource(Kind.BASELINE, "a", None, lambda _: moved)
        assert await storage.get_resource(Kind.BASELINE, "a", None) == moved
        page = await storage.list_resources(ResourceQuery(kind=Kind.BASELINE))
        assert page.items == [moved], "baselines in a list"


def _ids(records: Sequence[JobRecord] | Sequence[AnyResource]) -> list[str]:
    return [record.id for record in records]
