"""The storage as the engine uses it for providers and collections: typed, and with what one derives from the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import resource_transitions
from evalhub_server.domain.resource import RECORD_TYPES, AnyResource, CollectionRecord, ProviderRecord
from evalhub_server.domain.resource_transitions import Creation
from evalhub_server.domain.taxonomy import VisibleBenchmarks, visible_benchmarks, with_derived
from evalhub_server.errors import NotFound
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER, ProviderConfig
from evalhub_server.plugins.storage import ResourcePage, ResourceQuery, Storage

R = TypeVar("R", ProviderRecord, CollectionRecord)

log = structlog.get_logger()

KINDS = {type_: kind for kind, type_ in RECORD_TYPES.items()}
_PAGE = 1000


class SystemResources(Struct, kw_only=True, frozen=True):
    """What the files say, by id."""

    providers: dict[str, ProviderConfig] = {}
    collections: dict[str, CollectionConfig] = {}


class ResourceStore:
    """Reads and writes providers and collections. ``tenant`` is as in :class:`Storage`, and so is what is raised.

    Whoever writes a configuration holds ``writing``: what collections derive from providers is computed from what is
    stored, and no other write must come between.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.writing = asyncio.Lock()

    async def add(self, record: AnyResource) -> None:
        await self._storage.add_resource(record)

    async def get(self, type_: type[R], resource_id: str, tenant: str | None) -> R:
        record = await self._storage.get_resource(KINDS[type_], resource_id, tenant)
        assert isinstance(record, type_)  # noqa: S101  the storage's contract
        return record

    async def list(self, query: ResourceQuery) -> ResourcePage:
        return await self._storage.list_resources(query)

    async def update(
        self, type_: type[R], resource_id: str, tenant: str | None, change: Callable[[R], R]
    ) -> R:
        def checked(stored: AnyResource) -> AnyResource | None:
            return change(stored) if isinstance(stored, type_) else None

        record = await self._storage.update_resource(KINDS[type_], resource_id, tenant, checked)
        assert isinstance(record, type_)  # noqa: S101  the storage's contract
        return record

    async def delete(self, record: AnyResource, tenant: str | None) -> None:
        await self._storage.delete_resource(KINDS[type(record)], record.id, tenant)

    async def visible(self, provider_ids: Iterable[str], tenant: str | None) -> Sequence[ProviderRecord]:
        """Those of the providers that there are, ordered by id."""
        found: list[ProviderRecord] = []
        for provider_id in sorted(provider_ids):
            try:
                found.append(await self.get(ProviderRecord, provider_id, tenant))
            except NotFound:
                continue
        return found

    async def visible_benchmarks(self, tenant: str | None) -> VisibleBenchmarks:
        """Every benchmark that the tenant can see."""
        return index([provider async for provider in self._all(ProviderRecord, tenant)])

    async def derive_again(self, provider: ProviderRecord | None = None) -> None:
        """Bring up to date what collections derive from ``provider``, which changed or is gone; None: from any.

        What is derived belongs to the collection, so it is what the collection's own tenant sees, whoever reads it.
        """
        tenant = None if provider is None or provider.system else provider.tenant
        async for collection in self._all(CollectionRecord, tenant):
            named = {benchmark.provider_id for benchmark in collection.config.benchmarks}
            if provider is not None and provider.id not in named:
                continue
            visible = index(await self.visible(named, collection.tenant))
            if with_derived(collection, visible) is not collection:
                await self.update(
                    CollectionRecord,
                    collection.id,
                    collection.tenant,
                    lambda stored, visible=visible: with_derived(stored, visible),
                )

    async def replace_system(self, system: SystemResources, now: datetime) -> None:
        """Make ``system`` all that the system has."""
        visible = visible_benchmarks(system.providers)
        records: list[AnyResource] = [
            resource_transitions.new_provider(config, _made(key, now))
            for key, config in system.providers.items()
        ]
        records += [
            resource_transitions.new_collection(config, visible, _made(key, now))
            for key, config in system.collections.items()
        ]
        async with self.writing:
            await self._storage.replace_system(records)
            for record in records:
                await self._name_if_left_out(record)
            await self.derive_again()

    async def _name_if_left_out(self, record: AnyResource) -> None:
        kind = KINDS[type(record)]
        if not (await self._storage.get_resource(kind, record.id, None)).system:
            log.warning(
                f"{kind.value.capitalize()} skipped: its id belongs to a {kind.value} that was created over REST; "
                "delete that one, or choose another id in the file",
                **{f"{kind.value}_id": record.id},
            )

    async def _all(self, type_: type[R], tenant: str | None) -> AsyncIterator[R]:
        query = ResourceQuery(kind=KINDS[type_], tenant=tenant, limit=_PAGE)
        while True:
            page = await self._storage.list_resources(query)
            for record in page.items:
                assert isinstance(record, type_)  # noqa: S101  the storage's contract
                yield record
            if len(page.items) < _PAGE:
                return
            query = replace(query, offset=query.offset + _PAGE)


def index(providers: Iterable[ProviderRecord]) -> VisibleBenchmarks:
    """Their benchmarks."""
    return visible_benchmarks({provider.id: provider.config for provider in providers})


def _made(resource_id: str, now: datetime) -> Creation:
    return Creation(id=resource_id, owner=SYSTEM_OWNER, now=now)
