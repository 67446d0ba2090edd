"""Service for providers and collections: the operations of the REST API."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import structlog

from evalhub_server.domain import json_patch, problems, resource_transitions
from evalhub_server.domain.entity_tags import Tags
from evalhub_server.domain.json_patch import Patch
from evalhub_server.domain.remote_commands import check_commands_allowed
from evalhub_server.domain.resource import AnyResource, CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_transitions import Creation
from evalhub_server.domain.taxonomy import VisibleBenchmarks, taxonomy_of, unknown_members
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.resource_store import KINDS, ResourceStore
from evalhub_server.errors import StorageError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig, Runnable
from evalhub_server.plugins.runtime import Readiness, Runtime
from evalhub_server.plugins.storage import ResourcePage, ResourceQuery

R = TypeVar("R", ProviderRecord, CollectionRecord)
CollectionChange = Callable[[CollectionRecord, VisibleBenchmarks, datetime], CollectionRecord]

log = structlog.get_logger()


class ResourceService:
    """Reads and changes providers and collections for clients; raises :class:`ApiError`.

    ``body_limit_bytes`` also limits patched documents. ``commands_allowed``: clients may set commands for this host.
    ``runtime`` is the local one, if that is selected.
    """

    def __init__(
        self,
        store: ResourceStore,
        clock: Clock,
        new_id: Callable[[], str],
        body_limit_bytes: int,
        *,
        commands_allowed: bool,
        runtime: Runtime | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._body_limit_bytes = body_limit_bytes
        self.commands_allowed = commands_allowed
        self._runtime = runtime

    @property
    def changes(self) -> int:
        """The number of writes of providers and collections in this life of the server."""
        return self._store.changes

    @property
    def readiness_state(self) -> str:
        """Changes when :meth:`runnable` may return something else."""
        return self._runtime.readiness_state() if self._runtime is not None else ""

    def runnable(self, record: ProviderRecord) -> Runnable | None:
        """Whether the provider's adapters can be started on this host; None outside local mode. Equal results are identical."""
        if self._runtime is None:
            return None
        found = self._runtime.readiness(record.config.runtime.get(self._runtime.provider_key))
        return None if found is None else _runnable(found)

    async def get_provider(self, provider_id: str, identity: Identity) -> ProviderRecord:
        return await self._get(ProviderRecord, provider_id, identity)

    async def get_collection(self, collection_id: str, identity: Identity) -> CollectionRecord:
        return await self._get(CollectionRecord, collection_id, identity)

    async def list(self, query: ResourceQuery) -> ResourcePage:
        try:
            return await self._store.list(query)
        except StorageError as error:
            raise problems.query_failed(f"{query.kind.value}s", error) from error

    async def member_providers(
        self, collection: CollectionRecord, identity: Identity
    ) -> Sequence[ProviderRecord]:
        """The providers of the collection's benchmarks that the client can see."""
        with _api_errors(Kind.COLLECTION, collection.id):
            return await self._store.visible_providers(collection.provider_ids, identity.scope)

    async def create_provider(self, config: ProviderConfig, identity: Identity) -> ProviderRecord:
        check_commands_allowed(config, allowed=self.commands_allowed)
        # Without the lock `writing`: no collection has a benchmark of a provider whose id is new.
        record = resource_transitions.new_provider(config, self._creation(identity))
        await self._add(record)
        return record

    async def replace_provider(
        self, provider_id: str, config: ProviderConfig, identity: Identity, if_match: Tags | None = None
    ) -> ProviderRecord:
        now = self._clock()
        return await self._change_provider(
            provider_id,
            identity,
            if_match,
            lambda stored: resource_transitions.replace_provider(stored, config, now),
        )

    async def patch_provider(
        self, provider_id: str, patch: Patch, identity: Identity, if_match: Tags | None = None
    ) -> ProviderRecord:
        now, limit_bytes = self._clock(), self._body_limit_bytes
        return await self._change_provider(
            provider_id,
            identity,
            if_match,
            lambda stored: json_patch.patch_provider(stored, patch, now, limit_bytes),
        )

    async def delete_provider(self, provider_id: str, identity: Identity) -> None:
        async with self._store.writing:
            record = await self._delete(ProviderRecord, provider_id, identity)
            if taxonomy_of(record.config):
                with _api_errors(Kind.PROVIDER, provider_id):
                    await self._store.update_derived(record)

    async def create_collection(self, config: CollectionConfig, identity: Identity) -> CollectionRecord:
        creation = self._creation(identity)
        return await self._add_collection(
            identity, lambda visible: resource_transitions.new_collection(config, visible, creation)
        )

    async def clone_collection(
        self, source: CollectionRecord, overrides: CollectionConfig, identity: Identity
    ) -> CollectionRecord:
        creation = self._creation(identity)
        return await self._add_collection(
            identity, lambda visible: resource_transitions.clone(source, overrides, visible, creation)
        )

    async def replace_collection(
        self, collection_id: str, config: CollectionConfig, identity: Identity, if_match: Tags | None = None
    ) -> CollectionRecord:
        return await self._change_collection(
            collection_id,
            identity,
            if_match,
            lambda stored, visible, now: resource_transitions.replace_collection(
                stored, config, visible, now
            ),
        )

    async def patch_collection(
        self, collection_id: str, patch: Patch, identity: Identity, if_match: Tags | None = None
    ) -> CollectionRecord:
        limit_bytes = self._body_limit_bytes
        return await self._change_collection(
            collection_id,
            identity,
            if_match,
            lambda stored, visible, now: json_patch.patch_collection(
                stored, patch, visible, now, limit_bytes
            ),
            new_members=patch.replaces_benchmarks,
        )

    async def delete_collection(self, collection_id: str, identity: Identity) -> None:
        async with self._store.writing:
            await self._delete(CollectionRecord, collection_id, identity)

    async def count_run(self, collection: CollectionRecord) -> None:
        """Count a job of the collection. A storage error is only logged, since the job itself is stored."""
        try:
            await self._store.update(
                CollectionRecord, collection.id, collection.tenant, resource_transitions.with_run_counted
            )
        except StorageError as error:
            log.warning("Run of a collection not counted", collection_id=collection.id, error=str(error))

    def _creation(self, identity: Identity) -> Creation:
        return Creation(id=self._new_id(), tenant=identity.tenant, owner=identity.user, now=self._clock())

    async def _change_provider(
        self,
        provider_id: str,
        identity: Identity,
        if_match: Tags | None,
        change: Callable[[ProviderRecord], ProviderRecord],
    ) -> ProviderRecord:
        def checked(stored: ProviderRecord) -> ProviderRecord:
            if if_match is not None:
                if_match.check_edit(stored.updated_at, Kind.PROVIDER, provider_id)
            record = change(stored)
            check_commands_allowed(record.config, allowed=self.commands_allowed, stored=stored.config)
            return record

        async with self._store.writing:
            with _api_errors(Kind.PROVIDER, provider_id):
                before = await self._store.get(ProviderRecord, provider_id, identity.scope)
                record = await self._store.update(ProviderRecord, provider_id, identity.scope, checked)
                if taxonomy_of(before.config) != taxonomy_of(record.config):
                    await self._store.update_derived(record)
        log.info("Updated provider", provider_id=provider_id)
        return record

    async def _change_collection(
        self,
        collection_id: str,
        identity: Identity,
        if_match: Tags | None,
        change: CollectionChange,
        *,
        new_members: bool = True,
    ) -> CollectionRecord:
        """Change a collection, with the benchmarks of its providers, before and (if it may have ``new_members``) after it."""
        now, scope = self._clock(), identity.scope

        def checked(stored: CollectionRecord, visible: VisibleBenchmarks) -> CollectionRecord:
            if if_match is not None:
                if_match.check_edit(stored.updated_at, Kind.COLLECTION, collection_id)
            return change(stored, visible, now)

        async with self._store.writing:
            with _api_errors(Kind.COLLECTION, collection_id):
                before = await self._store.get(CollectionRecord, collection_id, scope)
                visible = await self._store.visible_benchmarks(before.provider_ids, scope)
                if new_members:
                    providers = before.provider_ids | checked(before, visible).provider_ids
                    visible = await self._store.visible_benchmarks(providers, scope)
                record = await self._store.update(
                    CollectionRecord, collection_id, scope, lambda stored: checked(stored, visible)
                )
        log.info("Updated collection", collection_id=collection_id)
        _warn_of_unknown_members(record, visible)
        return record

    async def _add_collection(
        self, identity: Identity, new_record: Callable[[VisibleBenchmarks], CollectionRecord]
    ) -> CollectionRecord:
        async with self._store.writing:
            providers = new_record({}).provider_ids
            with _api_errors(Kind.COLLECTION, ""):
                visible = await self._store.visible_benchmarks(providers, identity.scope)
            record = new_record(visible)
            await self._add(record)
        _warn_of_unknown_members(record, visible)
        return record

    async def _add(self, record: AnyResource) -> None:
        kind = KINDS[type(record)]
        with _api_errors(kind, record.id):
            await self._store.add(record)
        log.info(f"Created {kind.value}", **{f"{kind.value}_id": record.id})

    async def _get(self, type_: type[R], resource_id: str, identity: Identity) -> R:
        with _api_errors(KINDS[type_], resource_id):
            return await self._store.get(type_, resource_id, identity.scope)

    async def _delete(self, type_: type[R], resource_id: str, identity: Identity) -> R:
        kind = KINDS[type_]
        record = await self._get(type_, resource_id, identity)
        resource_transitions.check_deletable(record)
        with _api_errors(kind, resource_id):
            await self._store.delete(record, identity.scope)
        log.info(f"Deleted {kind.value}", **{f"{kind.value}_id": resource_id})
        return record


@lru_cache(maxsize=1024)
def _runnable(found: Readiness) -> Runnable:
    return Runnable(local=not found.reason, reason=found.reason, fix=found.fix)


@contextmanager
def _api_errors(kind: Kind, resource_id: str) -> Generator[None]:
    """Convert storage errors to responses of the contract."""
    try:
        yield
    except StorageError as error:
        raise problems.from_storage(kind.value, resource_id, error) from error


def _warn_of_unknown_members(record: CollectionRecord, visible: VisibleBenchmarks) -> None:
    for member in unknown_members(record.config, visible):
        log.warning(
            "Collection refers to an unknown benchmark; its jobs are refused until that exists",
            collection_id=record.id,
            provider_id=member.provider_id,
            benchmark_id=member.id,
        )
