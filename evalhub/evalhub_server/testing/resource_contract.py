"""Contract tests for providers and collections; a part of ``StorageContract``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.resource import AnyResource, CollectionRecord, Kind
from evalhub_server.errors import AlreadyExists, NotFound
from evalhub_server.plugins.storage import ResourceChange, ResourceQuery, Storage
from evalhub_server.testing.builders import EPOCH, a_collection, a_provider, any_of
from evalhub_server.testing.contract import Contract

PROVIDERS = ResourceQuery(kind=Kind.PROVIDER)
COLLECTIONS = ResourceQuery(kind=Kind.COLLECTION)


def rename(name: str) -> ResourceChange:
    """Return a change of the resource's name."""
    return lambda record: msgspec.structs.replace(
        record, config=msgspec.structs.replace(record.config, name=name)
    )


def count_run(record: AnyResource) -> AnyResource:
    assert isinstance(record, CollectionRecord)
    return msgspec.structs.replace(record, run_count=record.run_count + 1)


def with_id(resource_id: str) -> tuple[AnyResource, AnyResource]:
    """Return a provider and a collection of the same id."""
    return a_provider(id=resource_id), a_collection(id=resource_id)


async def kept(storage: Storage, records: Sequence[AnyResource]) -> Sequence[AnyResource]:
    for record in records:
        await storage.add_resource(record)
    return records


async def found(storage: Storage, query: ResourceQuery, **filters: Any) -> list[str]:
    """Return the ids of a list of one page."""
    page = await storage.list_resources(msgspec.structs.replace(query, **filters))
    assert page.total_count == len(page.items), "this helper is for lists of one page"
    return [record.id for record in page.items]


@pytest.mark.asyncio
class ResourceContract(Contract):
    """A base class of ``StorageContract``, which provides the fixture."""

    # --- add, get, update, delete

    async def test_a_provider_and_a_collection_come_back_as_they_were_added(self, storage: Storage) -> None:
        provider = a_provider(tenant="team-a", owner="ada", tags=("x", "y"), size=3)
        collection = a_collection(
            config={"domains": ("law",), "curation_order": 2, "custom": {"a": [1, None]}},
            derived_from=provider.id,
            pinned_order=3,
            run_count=4,
            derived={"tasks": ("qa", "sum")},
        )
        await kept(storage, [provider, collection])
        assert await storage.get_resource(Kind.PROVIDER, provider.id, None) == provider
        assert await storage.get_resource(Kind.PROVIDER, provider.id, "team-a") == provider
        assert await storage.get_resource(Kind.COLLECTION, collection.id, "") == collection

    async def test_an_id_is_taken_once_per_kind(self, storage: Storage) -> None:
        provider, collection = await kept(storage, with_id("the-same"))
        for record in with_id("the-same"):
            with pytest.raises(AlreadyExists):
                await storage.add_resource(record)
        assert await storage.get_resource(Kind.PROVIDER, "the-same", None) == provider
        await storage.delete_resource(Kind.PROVIDER, "the-same", None)
        assert await storage.get_resource(Kind.COLLECTION, "the-same", None) == collection

    @pytest.mark.parametrize("kind", list(Kind))
    async def test_a_resource_that_was_never_added_is_not_found(self, storage: Storage, kind: Kind) -> None:
        with pytest.raises(NotFound):
            await storage.get_resource(kind, "missing", None)
        with pytest.raises(NotFound):
            await storage.update_resource(kind, "missing", None, rename("x"))
        with pytest.raises(NotFound):
            await storage.delete_resource(kind, "missing", None)

    async def test_every_part_of_a_collection_can_change(self, storage: Storage) -> None:
        collection = a_collection(config={"tags": ("old",)})
        other = a_collection(
            name="renamed", category="other", config={"tags": ("new",), "curation_order": 1, "tasks": ("qa",)}
        )
        changed = msgspec.structs.replace(
            collection,
            config=other.config,
            updated_at=EPOCH + timedelta(days=1, microseconds=1),
            derived_from="another",
            pinned_order=7,
            run_count=9,
        )
        await kept(storage, [collection])
        assert (
            await storage.update_resource(Kind.COLLECTION, collection.id, None, lambda _: changed) == changed
        )
        assert await storage.get_resource(Kind.COLLECTION, collection.id, None) == changed
        assert await found(storage, COLLECTIONS, labels={"tags": any_of("old")}) == []
        new = {"tags": any_of("new"), "tasks": any_of("qa")}
        assert await found(storage, COLLECTIONS, name=any_of("renamed"), labels=new) == [collection.id]
        assert await found(storage, COLLECTIONS, category=any_of("other")) == [collection.id]

    async def test_what_is_derived_for_a_collection_changes_by_itself(self, storage: Storage) -> None:
        collection = a_collection(derived={"domains": ("old",)})
        changed = msgspec.structs.replace(collection, derived={"domains": ("new",), "tasks": ("qa",)})
        await kept(storage, [collection])
        await storage.update_resource(Kind.COLLECTION, collection.id, None, lambda _: changed)
        assert await storage.get_resource(Kind.COLLECTION, collection.id, None) == changed
        assert await found(storage, COLLECTIONS, labels={"domains": any_of("old")}) == []
        new = {"domains": any_of("new"), "tasks": any_of("qa")}
        assert await found(storage, COLLECTIONS, labels=new) == [collection.id]

    @pytest.mark.parametrize("nothing", [None, "the same"])
    async def test_a_resource_that_does_not_change_is_returned(
        self, storage: Storage, nothing: str | None
    ) -> None:
        provider = a_provider()
        await storage.add_resource(provider)
        after = await storage.update_resource(
            Kind.PROVIDER, provider.id, None, lambda now: now if nothing else None
        )
        assert after == provider

    async def test_what_a_change_of_a_resource_raises_is_raised(self, storage: Storage) -> None:
        def refuse(record: AnyResource) -> AnyResource:
            raise LookupError(f"{record.id} is read-only")

        provider = a_provider()
        await storage.add_resource(provider)
        with pytest.raises(LookupError, match=f"{provider.id} is read-only"):
            await storage.update_resource(Kind.PROVIDER, provider.id, None, refuse)
        assert await storage.get_resource(Kind.PROVIDER, provider.id, None) == provider

    async def test_of_a_hundred_runs_counted_at_once_none_is_lost(self, storage: Storage) -> None:
        collection = a_collection()
        await storage.add_resource(collection)
        await asyncio.gather(
            *(storage.update_resource(Kind.COLLECTION, collection.id, None, count_run) for _ in range(100))
        )
        after = await storage.get_resource(Kind.COLLECTION, collection.id, None)
        assert after == msgspec.structs.replace(collection, run_count=100)

    async def test_a_deleted_resource_is_gone_from_everywhere(self, storage: Storage) -> None:
        gone, other = await kept(storage, [a_provider(tags=("x",)), a_provider(tags=("x",))])
        await storage.delete_resource(Kind.PROVIDER, gone.id, None)
        with pytest.raises(NotFound):
            await storage.get_resource(Kind.PROVIDER, gone.id, None)
        with pytest.raises(NotFound):
            await storage.delete_resource(Kind.PROVIDER, gone.id, None)
        assert await found(storage, PROVIDERS) == [other.id]
        assert await found(storage, PROVIDERS, labels={"tags": any_of("x")}) == [other.id]
        await storage.add_resource(a_provider(id=gone.id))
        assert await found(storage, PROVIDERS, labels={"tags": any_of("x")}) == [other.id]

    # --- tenants and the system

    async def test_a_resource_of_another_tenant_is_as_good_as_absent(self, storage: Storage) -> None:
        provider = a_provider(tenant="team-a")
        await storage.add_resource(provider)
        for stranger in ("team-b", ""):
            with pytest.raises(NotFound):
                await storage.get_resource(Kind.PROVIDER, provider.id, stranger)
            with pytest.raises(NotFound):
                await storage.update_resource(Kind.PROVIDER, provider.id, stranger, rename("mine"))
            with pytest.raises(NotFound):
                await storage.delete_resource(Kind.PROVIDER, provider.id, stranger)
            assert await found(storage, PROVIDERS, tenant=stranger) == []
        assert await storage.get_resource(Kind.PROVIDER, provider.id, "team-a") == provider

    async def test_everyone_sees_what_the_system_has_and_nobody_deletes_it(self, storage: Storage) -> None:
        mine, theirs, nobodys = await kept(
            storage, [a_provider(tenant="team-a"), a_provider(tenant="team-b"), a_provider()]
        )
        system = a_provider(owner="system")
        await storage.replace_system([system])
        for tenant, expected in (
            ("team-a", [system, mine]),
            ("team-b", [system, theirs]),
            ("", [system, nobodys]),
            (None, [system, nobodys, theirs, mine]),
        ):
            all_ids = [record.id for record in expected]
            assert await storage.get_resource(Kind.PROVIDER, system.id, tenant) == system
            assert await found(storage, PROVIDERS, tenant=tenant) == all_ids
            assert await found(storage, PROVIDERS, tenant=tenant, system=True) == [system.id]
            assert await found(storage, PROVIDERS, tenant=tenant, system=False) == all_ids[1:]
            with pytest.raises(NotFound):
                await storage.delete_resource(Kind.PROVIDER, system.id, tenant)
        changed = await storage.update_resource(Kind.PROVIDER, system.id, "team-a", rename("x"))
        assert await storage.get_resource(Kind.PROVIDER, system.id, "team-b") == changed

    # --- replacing the system resources

    async def test_what_the_system_has_is_replaced_and_the_rest_is_left(self, storage: Storage) -> None:
        (mine,) = await kept(storage, [a_provider(tenant="team-a")])
        first = [a_provider(owner="system"), a_collection(owner="system")]
        await storage.replace_system(first)
        second = [a_provider(owner="system", tags=("x",)), a_collection(owner="system")]
        await storage.replace_system(second)
        assert await found(storage, PROVIDERS) == [second[0].id, mine.id]
        assert await found(storage, COLLECTIONS) == [second[1].id]
        for kind, gone in zip((Kind.PROVIDER, Kind.COLLECTION), first, strict=True):
            with pytest.raises(NotFound):
                await storage.get_resource(kind, gone.id, None)
        await storage.replace_system([])
        assert await found(storage, PROVIDERS) == [mine.id]
        assert await found(storage, PROVIDERS, labels={"tags": any_of("x")}) == []

    async def test_what_the_system_has_already_keeps_its_times_and_runs(self, storage: Storage) -> None:
        same, edited = a_collection(owner="system"), a_collection(owner="system", config={"tags": ("old",)})
        await storage.replace_system([same, edited])
        await storage.update_resource(Kind.COLLECTION, same.id, None, count_run)
        counted = await storage.update_resource(Kind.COLLECTION, edited.id, None, count_run)
        later = EPOCH + timedelta(days=9)

        def loaded(record: CollectionRecord, **config: Any) -> CollectionRecord:
            config = {"tags": record.config.tags, **config}
            return a_collection(id=record.id, owner="system", created_at=later, config=config)

        await storage.replace_system([loaded(same), loaded(edited, tags=("new",))])
        assert await storage.get_resource(Kind.COLLECTION, same.id, None) == msgspec.structs.replace(
            same, run_count=1
        )
        assert await storage.get_resource(Kind.COLLECTION, edited.id, None) == msgspec.structs.replace(
            counted, updated_at=later, config=loaded(edited, tags=("new",)).config
        )
        assert await found(storage, COLLECTIONS, labels={"tags": any_of("new")}) == [edited.id]
        assert await found(storage, COLLECTIONS, labels={"tags": any_of("old")}) == []

    async def test_an_id_of_a_tenants_resource_stays_the_tenants(self, storage: Storage) -> None:
        (mine,) = await kept(storage, [a_provider(id="lighteval", tenant="team-a")])
        records = [a_provider(id="lighteval", owner="system"), a_collection(id="lighteval", owner="system")]
        await storage.replace_system(records)
        assert await storage.get_resource(Kind.PROVIDER, "lighteval", None) == mine
        assert await storage.get_resource(Kind.COLLECTION, "lighteval", "team-b") == records[1]
        with pytest.raises(NotFound):
            await storage.get_resource(Kind.PROVIDER, "lighteval", "team-b")
        assert await found(storage, PROVIDERS, tenant="team-b") == []

    async def test_of_several_records_of_one_id_the_last_counts(self, storage: Storage) -> None:
        records = [a_provider(id="p", owner="system", name=name) for name in ("first", "last")]
        await storage.replace_system(records)
        assert await storage.get_resource(Kind.PROVIDER, "p", None) == records[1]

    async def test_runs_counted_while_the_system_is_replaced_are_not_lost(self, storage: Storage) -> None:
        collection = a_collection(owner="system")
        await storage.replace_system([collection])
        await asyncio.gather(
            *(
                storage.replace_system(
                    [msgspec.structs.replace(collection, updated_at=EPOCH), a_provider(owner="system")]
                )
                if number % 5 == 2
                else storage.update_resource(Kind.COLLECTION, collection.id, None, count_run)
                for number in range(50)
            )
        )
        after = await storage.get_resource(Kind.COLLECTION, collection.id, None)
        assert after == msgspec.structs.replace(collection, run_count=40)

    async def test_a_list_shows_all_of_a_replacement_or_nothing(self, storage: Storage) -> None:
        chance = random.Random(5)  # noqa: S311 - the same run every time
        sets = [
            [a_provider(id=f"p{number}", owner="system", name=f"set {turn}") for number in numbers]
            for turn, numbers in enumerate((range(6), range(3, 9), range(2)))
        ]
        names = {name: len(records) for name, records in ((each[0].config.name, each) for each in sets)}
        await storage.replace_system(sets[0])

        async def replace() -> None:
            for _ in range(30):
                await storage.replace_system(chance.choice(sets))

        async def look() -> None:
            await asyncio.sleep(0)
            page = await storage.list_resources(
                msgspec.structs.replace(PROVIDERS, limit=chance.choice([50, 51]))
            )
            (name,) = {record.config.name for record in page.items}
            assert len(page.items) == page.total_count == names[name]

        replacing = asyncio.create_task(replace())
        while not replacing.done():
            await asyncio.gather(*(look() for _ in range(5)))
        await replacing

    async def test_a_cancelled_replacement_is_whole_or_not_at_all(self, storage: Storage) -> None:
        chance = random.Random(3)  # noqa: S311 - the same run every time
        for turn in range(30):
            records = [a_collection(owner="system", name=str(turn)) for _ in range(3)]
            task = asyncio.create_task(storage.replace_system(records))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            names = [record.config.name for record in (await storage.list_resources(COLLECTIONS)).items]
            assert len(names) in {0, 3}
            assert len(set(names)) <= 1
