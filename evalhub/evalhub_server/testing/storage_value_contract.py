"""Contract tests that a storage keeps values and ids exactly, and refuses records as a whole; a part of ``StorageContract``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.resource import AnyResource, BaselineRecord, CollectionRecord, Kind
from evalhub_server.errors import AlreadyExists, EvalHubError, NotFound, StorageError
from evalhub_server.models.baseline import BaselineConfig
from evalhub_server.models.common import Message
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.plugins.storage import JobQuery, ResourceQuery, Storage
from evalhub_server.testing.builders import EPOCH, a_collection, a_finished_job, a_job, a_provider
from evalhub_server.testing.job_list_contract import say, stored
from evalhub_server.testing.resource_contract import kept
from evalhub_server.testing.storage_durability_contract import StorageDurabilityContract, differences

VALUES: dict[str, Any] = {
    "a text with combining characters": "e\N{COMBINING ACUTE ACCENT} \N{ANGSTROM SIGN} \N{LATIN SMALL LIGATURE FI}",
    "a text with white space at its ends": " \ta\r\n ",
    "a long text": "å\N{PILE OF POO} " * 30_000,
    "an empty text": "",
    "a number with all of its digits": 0.1 + 0.2,
    "a very small and a very large number": [5e-324, 1.7976931348623157e308],
    "integers above 2**53": [2**53 + 1, 2**63 - 1, -(2**63)],
    "a whole number with a fraction of zero": [1.0, 1],
    "null in a list": [None, {"a": None}],
}

IDS = ("a", "A", "a-b", "a_b", "a.b", "a%", "a b", "å", "a\N{COMBINING RING ABOVE}")
"""Ids that a storage must tell apart."""

TENANTS = ("team-a", "team-a-2", "Team-A", "team_a", "team%", "team")
"""Names of tenants that a storage must tell apart."""


def with_value(value: Any) -> tuple[JobRecord, CollectionRecord]:
    """Return records that have the value wherever its type is allowed."""
    benchmark = BenchmarkRef(
        id="bench-0", provider_id="provider-a", parameters={"value": value, "list": [value]}
    )
    job = a_finished_job(score=value if type(value) is float else 0.75)
    request = msgspec.structs.replace(job.request, benchmarks=(benchmark,))
    config: dict[str, Any] = {"custom": {"value": value}}
    if isinstance(value, str):
        request = msgspec.structs.replace(request, description=value)
        job = with_changes(job, message=Message(message=value))
        config["description"] = value
    return with_changes(job, request=request), a_collection(config=config)


def with_number(number: float, **fields: Any) -> CollectionRecord:
    """Return a collection whose benchmark has a weight."""
    benchmark = BenchmarkRef(id="bench-0", provider_id="provider-a", weight=number)
    return a_collection(config={"benchmarks": (benchmark,)}, **fields)


@pytest.mark.asyncio
class StorageValueContract(StorageDurabilityContract):
    """A base class of ``StorageContract``, which provides the fixture."""

    async def check_raises(self, error: type[EvalHubError], call: Awaitable[object], what: str) -> None:
        """Fail with ``what`` unless the call raises the error."""
        (result,) = await asyncio.gather(self.soon(call), return_exceptions=True)
        assert isinstance(result, error), f"{what}: it must raise {error.__name__}, not return {result!r}"

    async def reopened(self, storage: Storage) -> None:
        if storage.durable:
            await storage.close()
            await storage.open()

    # --- values

    async def test_values_are_kept_exactly(self, storage: Storage) -> None:
        records = {what: with_value(value) for what, value in VALUES.items()}
        for job, collection in records.values():
            await storage.add_job(a_job(id=job.id, created_at=job.definition.created_at))
            await storage.update_job(job.id, None, lambda _, job=job: job)
            await storage.add_resource(collection)
        await self.reopened(storage)
        for what, (job, collection) in records.items():
            found = await storage.get_job(job.id, None)
            # Numbers of different types, such as 1 and 1.0, are equal.
            assert repr(found) == repr(job), (
                f"{what} in a job is not kept: {differences(job, found) or found}"
            )
            kept = await storage.get_resource(Kind.COLLECTION, collection.id, None)
            assert repr(kept) == repr(collection), (
                f"{what} in a collection is not kept: {differences(collection, kept) or kept}"
            )

    # --- ids and tenants

    async def test_ids_are_compared_literally(self, storage: Storage) -> None:
        jobs = {each: a_job(id=each, name=f"job {each}") for each in IDS}
        providers = {each: a_provider(id=each, name=f"provider {each}") for each in IDS}
        for each in IDS:
            try:
                await storage.add_job(jobs[each])
                await storage.add_resource(providers[each])
            except AlreadyExists as error:
                raise AssertionError(f"the id {each!r} is taken for another one of {IDS}: {error}") from error
        for each in IDS:
            assert await storage.get_job(each, None) == jobs[each], f"the job with the id {each!r}"
            found = await storage.get_resource(Kind.PROVIDER, each, None)
            assert found == providers[each], f"the provider with the id {each!r}"
        await storage.delete_job(IDS[0], None)
        await storage.delete_resource(Kind.PROVIDER, IDS[0], None)
        left = {job.id for job in (await storage.list_jobs(JobQuery())).items}
        assert left == set(IDS[1:]), f"ids of jobs after {IDS[0]!r} was deleted: {left}"
        left = {each.id for each in (await storage.list_resources(ResourceQuery(kind=Kind.PROVIDER))).items}
        assert left == set(IDS[1:]), f"ids of providers after {IDS[0]!r} was deleted: {left}"

    async def test_ids_are_unique_across_tenants(self, storage: Storage) -> None:
        config = BaselineConfig(name="main", job_id="a-job")
        records: list[AnyResource] = [
            a_provider(id="a", tenant="team-a"),
            a_collection(id="a", tenant="team-a"),
            BaselineRecord(id="a", tenant="team-a", created_at=EPOCH, updated_at=EPOCH, config=config),
        ]
        await kept(storage, records)
        for record in records:
            other = msgspec.structs.replace(record, tenant="team-b")
            what = f"a {type(record).__name__} with the id of another tenant's"
            await self.check_raises(AlreadyExists, storage.add_resource(other), what)
        for kind, record in zip((Kind.PROVIDER, Kind.COLLECTION, Kind.BASELINE), records, strict=True):
            found = await storage.get_resource(kind, "a", None)
            assert found == record, f"a {kind} was overwritten by one of another tenant: {found}"

    async def test_tenants_are_compared_literally(self, storage: Storage) -> None:
        jobs = await stored(storage, [a_job(tenant=tenant) for tenant in TENANTS])
        providers = await kept(storage, [a_provider(tenant=tenant) for tenant in TENANTS])
        for tenant, job, provider in zip(TENANTS, jobs, providers, strict=True):
            page = await storage.list_jobs(JobQuery(tenant=tenant))
            assert page.items == [job], (
                f"tenants of the jobs of {tenant!r}: {[each.tenant for each in page.items]}"
            )
            listed = await storage.list_resources(ResourceQuery(kind=Kind.PROVIDER, tenant=tenant))
            assert listed.items == [provider], (
                f"tenants of the providers of {tenant!r}: {[each.tenant for each in listed.items]}"
            )
            for stranger in TENANTS:
                if stranger != tenant:
                    what = f"a job of {tenant!r} for {stranger!r}"
                    await self.check_raises(NotFound, storage.get_job(job.id, stranger), what)

    # --- lists

    async def test_pages_of_jobs_with_equal_times_join_to_the_whole_list(self, storage: Storage) -> None:
        jobs = await stored(storage, [a_job(created_at=EPOCH) for _ in range(7)])
        for descending in (True, False):
            expected = [job.id for job in (reversed(jobs) if descending else jobs)]
            found: list[str] = []
            for offset in (0, 2, 4, 6):
                query = JobQuery(limit=2, offset=offset, descending=descending)
                found += [job.id for job in (await storage.list_jobs(query)).items]
            assert found == expected, (
                f"pages of jobs that were created at one moment, descending={descending}"
            )

    async def test_a_list_belongs_to_its_caller(self, storage: Storage) -> None:
        (job,) = await stored(storage, [a_job()])
        (provider,) = await kept(storage, [a_provider()])
        query = ResourceQuery(kind=Kind.PROVIDER)
        for _ in range(2):
            page, resources = await storage.list_jobs(JobQuery()), await storage.list_resources(query)
            open_jobs = await storage.open_jobs()
            found = page.items, open_jobs, resources.items
            assert found == ([job], [job], [provider]), "lists after a caller had changed the earlier ones"
            for items in found:
                items.clear()

    # --- records that are refused

    async def test_a_refused_record_does_not_take_its_id(self, storage: Storage) -> None:
        job = a_finished_job(score=math.nan)
        await self.check_raises(StorageError, storage.add_job(job), "a new job with the score nan")
        good = a_finished_job(id=job.id)
        try:
            await storage.add_job(good)
        except AlreadyExists as error:
            raise AssertionError(f"the id of a job that was refused is taken: {error}") from error
        assert (await storage.list_jobs(JobQuery())).items == [good], "jobs after one was refused"

    async def test_resources_with_numbers_that_json_does_not_have_are_refused(self, storage: Storage) -> None:
        (known,) = await kept(storage, [with_number(0.5)])
        for number in (math.nan, math.inf, -math.inf):
            what = f"a new resource with the weight {number}"
            await self.check_raises(StorageError, storage.add_resource(with_number(number)), what)
            changed = with_number(number, id=known.id, created_at=known.created_at)
            call = storage.update_resource(Kind.COLLECTION, known.id, None, lambda _, to=changed: to)
            await self.check_raises(StorageError, call, f"a change of a resource to the weight {number}")
        page = await storage.list_resources(ResourceQuery(kind=Kind.COLLECTION))
        assert page.items == [known], f"resources after others were refused: {page.items}"

    async def test_a_refused_replacement_changes_nothing(self, storage: Storage) -> None:
        before = [a_collection(owner="system"), a_provider(owner="system")]
        await storage.replace_system(before)
        records = [
            a_provider(owner="system"),
            with_number(math.nan, owner="system"),
            a_provider(owner="system"),
        ]
        await self.check_raises(
            StorageError, storage.replace_system(records), "a replacement with the weight nan"
        )
        for kind, record in ((Kind.COLLECTION, before[0]), (Kind.PROVIDER, before[1])):
            found = (await storage.list_resources(ResourceQuery(kind=kind))).items
            assert found == [record], f"a refused replacement changed the {kind}s of the system: {found}"

    # --- close

    async def test_writes_that_are_pending_at_the_end_are_finished(self, storage: Storage) -> None:
        jobs = [a_job() for _ in range(20)]
        writes = [asyncio.ensure_future(storage.add_job(job)) for job in jobs]
        await asyncio.sleep(0)
        await storage.close()
        results = await asyncio.gather(*writes, return_exceptions=True)
        hanging = [result for result in results if isinstance(result, AssertionError)]
        assert not hanging, f"close() has left writes pending: {hanging}"
        await storage.open()
        for job, result in zip(jobs, results, strict=True):
            if result is None and storage.durable:
                assert await storage.get_job(job.id, None) == job, (
                    "a write that was finished by close() is lost"
                )
        await storage.add_job(a_job())
        await storage.update_job((await storage.open_jobs())[0].id, None, say("after close and open"))
