"""Typed storage access for providers and collections, which keeps derived taxonomies up to date."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
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
    """The providers and collections from files, by id."""

    providers: dict[str, ProviderConfig] = {}
    collections: dict[str, CollectionConfig] = {}


class ResourceStore:
    """Reads and writes providers and collections. ``tenant`` and exceptions are those of :class:`Storage`.

    Hold the lock ``writing`` while writing a configuration: derived taxonomies are computed from stored providers,
    and no other write may come between. ``changes`` counts the writes; a write that failed counts too, since a broken
    connection leaves open whether it was committed. ``system`` returns where the resources from files are written, which
    only the leader among several servers may do.
    """

    def __init__(self, storage: Storage, system: Callable[[], Storage] | None = None) -> None:
        self._storage = storage
        self._system = system or (lambda: storage)
        self.writing = asyncio.Lock()
        self.changes = 0

    @contextmanager
    def _counted(self) -> Generator[None]:
        try:
            yield
        finally:
            self.changes += 1

    def changed_elsewhere(self) -> None:
        """Take note of a write of another server."""
        self.changes += 1

    async def add(self, record: AnyResource) -> None:
        with self._counted():
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

        with self._counted():
            record = await self._storage.update_resource(KINDS[type_], resource_id, tenant, checked)
        assert isinstance(record, type_)  # noqa: S101  the storage's contract
        return record

    async def delete(self, record: AnyResource, tenant: str | None) -> None:
        with self._counted():
            await self._storage.delete_resource(KINDS[type(record)], record.id, tenant)

    async def visible_providers(
        self, provider_ids: Iterable[str], tenant: str | None
    ) -> Sequence[ProviderRecord]:
        """Those of the providers that exist and that the tenant can see, ordered by id."""
        found: list[ProviderRecord] = []
        for provider_id in sorted(provider_ids):
            try:
                found.append(await self.get(ProviderRecord, provider_id, tenant))
            except NotFound:
                continue
        return found

    async def visible_benchmarks(self, provider_ids: Iterable[str], tenant: str | None) -> VisibleBenchmarks:
        """The benchmarks of those of the providers that exist and that the tenant can see."""
        return benchmarks_of(await self.visible_providers(provider_ids, tenant))

    async def update_derived(self, provider: ProviderRecord | None = None) -> None:
        """Update the derived taxonomies of the collections of ``provider``, changed or deleted; of all, if None.

        They are computed from the providers that the collection's own tenant can see, regardless of the reader.
        """
        tenant = None if provider is None or provider.system else provider.tenant
        async for collection in self._all(CollectionRecord, tenant):
            if provider is not None and provider.id not in collection.provider_ids:
                continue
            visible = await self.visible_benchmarks(collection.provider_ids, collection.tenant)
            if with_derived(collection, visible) is not collection:
                await self.update(
                    CollectionRecord,
                    collection.id,
                    collection.tenant,
                    lambda stored, visible=visible: with_derived(stored, visible),
                )

    async def replace_system(self, system: SystemResources, now: datetime) -> None:
        """Replace all system resources with ``system``."""
        visible = visible_benchmarks(system.providers)
        records: list[AnyResource] = [
            resource_transitions.new_provider(config, _creation(key, now))
            for key, config in system.providers.items()
        ]
        records += [
            resource_transitions.new_collection(config, visible, _creation(key, now))
            for key, config in system.collections.items()
        ]
        async with self.writing:
            with self._counted():
                await self._system().replace_system(records)
            for type_, kind in KINDS.items():
                created = await self.list(ResourceQuery(kind=kind, system=False, limit=0))
                if created.total_count:
                    for record in records:
                        if isinstance(record, type_):
                            await self._warn_if_skipped(record)
            await self.update_derived()

    async def _warn_if_skipped(self, record: AnyResource) -> None:
        kind = KINDS[type(record)]
        if not (await self._storage.get_resource(kind, record.id, None)).system:
            log.warning(
                f"{kind.value.capitalize()} skipped",
                **{f"{kind.value}_id": record.id},
                error=f"a {kind.value} with this id was created over REST; delete it, or choose another id in the file",
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


def benchmarks_of(providers: Iterable[ProviderRecord]) -> VisibleBenchmarks:
    """The benchmarks of the providers, by provider id and benchmark id."""
    return visible_benchmarks({provider.id: provider.config for provider in providers})


def _creation(resource_id: str, now: datetime) -> Creation:
    return Creation(id=resource_id, owner=SYSTEM_OWNER, now=now)
