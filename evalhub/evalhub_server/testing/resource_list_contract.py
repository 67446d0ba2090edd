"""Contract tests for lists of providers and collections; a part of ``StorageContract``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.resource import TAXONOMY, AnyResource, Kind
from evalhub_server.plugins.storage import ResourceQuery, Sort, Storage
from evalhub_server.testing.builders import EPOCH, a_collection, a_provider, all_of, any_of, none_of
from evalhub_server.testing.contract import Contract
from evalhub_server.testing.resource_contract import COLLECTIONS, PROVIDERS, found, kept

LABELLED: dict[str, tuple[str, ...]] = {"x": ("x",), "xy": ("x", "y"), "none": (), "yy": ("y", "y")}
"""Ids of records, oldest first, with their tags or other labels."""

LABEL_TERMS = (
    (any_of("x"), "xy x"),
    (any_of("x", "y"), "yy xy x"),
    (all_of("x", "y"), "xy"),
    (all_of("y"), "yy xy"),
    (all_of("x", "z"), ""),
    (any_of("z"), ""),
    (none_of("x"), "yy none"),
    (none_of("x", "y"), "none"),
)
"""Filters, with the ids of the records that match, newest first."""


@pytest.mark.asyncio
class ResourceListContract(Contract):
    """A base class of ``StorageContract``, which provides the fixture."""

    @pytest.mark.parametrize(
        ("sort", "descending", "expected"),
        [
            ("created_at", True, "d a c b"),
            ("created_at", False, "b a c d"),
            ("updated_at", True, "b a c d"),
            ("updated_at", False, "d a c b"),
            ("name", True, "a c d b"),
            ("name", False, "b d a c"),
        ],
    )
    async def test_the_order_of_a_list(
        self, storage: Storage, sort: Sort, descending: bool, expected: str
    ) -> None:
        def day(number: int) -> Any:
            return EPOCH + timedelta(days=number)

        moments = {"c": (1, 2, "z"), "a": (1, 2, "z"), "b": (0, 3, "B"), "d": (4, 0, "a")}
        for make, query in ((a_provider, PROVIDERS), (a_collection, COLLECTIONS)):
            await kept(
                storage,
                [
                    make(id=resource_id, name=name, created_at=day(created), updated_at=day(updated))
                    for resource_id, (created, updated, name) in moments.items()
                ],
            )
            assert await found(storage, query, sort=sort, descending=descending) == expected.split()

    @pytest.mark.parametrize(
        ("descending", "expected"),
        [(False, "1-1 1-2 1-0 3-0 0-1 0-2 new old"), (True, "3-0 1-2 1-1 1-0 0-2 0-1 new old")],
    )
    async def test_curated_and_pinned_come_first_in_either_direction(
        self, storage: Storage, descending: bool, expected: str
    ) -> None:
        await kept(storage, [a_collection(id="old"), a_collection(id="new")])
        for place in ("0-2", "1-0", "3-0", "1-2", "0-1", "1-1"):
            curation, pinned = map(int, place.split("-"))
            record = a_collection(id=place, config={"curation_order": curation}, pinned_order=pinned)
            await storage.add_resource(record)
        ids = await found(storage, COLLECTIONS, sort="curation_order", descending=descending)
        assert ids == expected.split()
        providers = await kept(storage, [a_provider(), a_provider()])  # these have no places at all
        ids = await found(storage, PROVIDERS, sort="curation_order", descending=descending)
        assert ids == [record.id for record in reversed(providers)]

    @pytest.mark.parametrize("descending", [False, True])
    async def test_the_order_of_the_catalogue(self, storage: Storage, descending: bool) -> None:
        """The system's first, then tenants'; within each the curated ones in their order, then newest first."""
        places = {"old": 0, "second": 2, "first": 1, "new": 0}
        for day, (name, place) in enumerate(places.items()):
            for owner, tenant in (("system", ""), ("ada", "t")):
                fields: dict[str, Any] = {
                    "owner": owner,
                    "tenant": tenant,
                    "created_at": EPOCH + timedelta(days=day),
                }
                await storage.add_resource(
                    a_collection(id=f"{owner}-{name}", config={"curation_order": place}, **fields)
                )
                await storage.add_resource(a_provider(id=f"{owner}-{name}", **fields))
        expected = [
            f"{owner}-{name}" for owner in ("system", "ada") for name in ("first", "second", "new", "old")
        ]
        assert await found(storage, COLLECTIONS, sort="catalog", descending=descending) == expected
        query = msgspec.structs.replace(COLLECTIONS, tenant="t")
        assert await found(storage, query, sort="catalog", descending=descending) == expected
        expected = [
            f"{owner}-{name}" for owner in ("system", "ada") for name in ("new", "first", "second", "old")
        ]
        assert await found(storage, PROVIDERS, sort="catalog", descending=descending) == expected

    async def test_pages_of_resources_join_to_the_whole_list(self, storage: Storage) -> None:
        await kept(storage, [a_provider(tags=("x",), name=f"n{number % 3}") for number in range(7)])
        for query in (
            PROVIDERS,
            msgspec.structs.replace(PROVIDERS, sort="name", descending=False),
            msgspec.structs.replace(PROVIDERS, labels={"tags": any_of("x")}),
        ):
            whole = (await storage.list_resources(query)).items
            seen: list[AnyResource] = []
            for offset in (0, 3, 6, 10**30):
                page = await storage.list_resources(msgspec.structs.replace(query, limit=3, offset=offset))
                assert page.total_count == 7
                seen += page.items
            assert seen == whole

    async def test_filters_on_single_values_of_resources(self, storage: Storage) -> None:
        a, b, c = await kept(
            storage,
            [a_collection(name=name, owner=name, category=name, tenant="t") for name in ("a", "b", "c")],
        )
        await kept(storage, [a_provider(name="a", owner="a", tenant="t")])
        for field in ("name", "owner", "category"):
            for terms, expected in (
                (any_of("a"), [a]),
                (any_of("a", "c"), [c, a]),
                (any_of("b", "b"), [b]),
                (any_of("A"), []),
                (all_of("b"), [b]),
                (all_of("a", "b"), []),
                (none_of("a"), [c, b]),
                (none_of("unheard of"), [c, b, a]),
            ):
                for tenant in (None, "t"):
                    ids = await found(storage, COLLECTIONS, tenant=tenant, **{field: terms})
                    assert ids == [record.id for record in expected], (field, terms)
        assert await found(storage, PROVIDERS, category=any_of("a")) == []

    @pytest.mark.parametrize("label", ["tags", *TAXONOMY])
    async def test_filters_on_labels(self, storage: Storage, label: str) -> None:
        await kept(
            storage, [a_collection(id=each, config={label: values}) for each, values in LABELLED.items()]
        )
        await kept(storage, [a_provider(tags=("x", "y"))])
        for terms, expected in LABEL_TERMS:
            assert await found(storage, COLLECTIONS, labels={label: terms}) == expected.split(), terms
        assert await found(storage, COLLECTIONS, labels={label: any_of("x"), "unheard": any_of("x")}) == []
        assert len(await found(storage, COLLECTIONS, labels={"unheard": none_of("x")})) == 4

    async def test_filters_on_resources_are_combined(self, storage: Storage) -> None:
        fields: dict[str, Any] = {"tenant": "t", "owner": "o", "name": "n", "category": "c"}
        config = {"tags": ("x", "y"), "domains": ("law",)}
        wanted, *_ = await kept(
            storage,
            [
                a_collection(**fields, config=config),
                a_collection(**fields, config={**config, "tags": ("x",)}),
                a_collection(**fields, config={**config, "domains": ()}),
                *(a_collection(**{**fields, name: "other"}, config=config) for name in fields),
            ],
        )
        query = ResourceQuery(
            kind=Kind.COLLECTION,
            tenant="t",
            system=False,
            name=any_of("n", "m"),
            owner=none_of("other"),
            category=any_of("c"),
            labels={"tags": all_of("y", "x"), "domains": any_of("law"), "tasks": none_of("qa")},
            sort="name",
        )
        assert await found(storage, query) == [wanted.id]

    async def test_a_list_of_resources_asked_again_shows_what_has_changed(self, storage: Storage) -> None:
        queries = (PROVIDERS, msgspec.structs.replace(PROVIDERS, labels={"tags": any_of("x")}))

        async def answers() -> list[list[str]]:
            return [await found(storage, query) for query in queries]

        assert await answers() == [[], []]
        first, second = await kept(storage, [a_provider(tags=("x",)), a_provider()])
        assert await answers() == [[second.id, first.id], [first.id]]
        untagged = msgspec.structs.replace(first.config, tags=())
        await storage.update_resource(
            Kind.PROVIDER, first.id, None, lambda now: msgspec.structs.replace(now, config=untagged)
        )
        assert await answers() == [[second.id, first.id], []]
        assert (await storage.list_resources(PROVIDERS)).items[1].config == untagged
        await storage.delete_resource(Kind.PROVIDER, second.id, None)
        await storage.replace_system([a_provider(id="s", owner="system", tags=("x",))])
        assert await answers() == [["s", first.id], ["s"]]
