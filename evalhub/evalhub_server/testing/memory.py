"""In-memory storage: the shortest implementation of the contract, and a fast one for tests."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from math import inf
from typing import Any, TypeVar

import msgspec

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import (
    AnyResource,
    CollectionRecord,
    Kind,
    kind_of,
    merge_system_resource,
    resource_labels,
)
from evalhub_server.errors import AlreadyExists, NotFound
from evalhub_server.plugins.documents import UNWRITABLE, check_identity, encode, unwritable
from evalhub_server.plugins.storage import (
    JobChange,
    JobPage,
    JobQuery,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Storage,
)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=JobRecord | AnyResource)


class MemoryStorage(Storage):
    """Keeps jobs, providers and collections until the process ends.

    No method waits, so each is one step of the event loop: none can be interleaved or cancelled half-way.
    """

    durable = False
    description = "in memory of the process; lost when it ends"

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._resources: dict[tuple[Kind, str], AnyResource] = {}

    async def open(self) -> None:
        """Do nothing; there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing; the records live as long as the object."""

    async def add_job(self, record: JobRecord) -> None:
        _add(self._jobs, record.id, record, f"job {record.id}")

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        record = self._jobs.get(job_id)
        if record is None or tenant not in (None, record.tenant):
            raise NotFound(f"There is no job {job_id}.")
        return record

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        return _update(self._jobs, job_id, await self.get_job(job_id, tenant), change)

    async def list_jobs(self, query: JobQuery) -> JobPage:
        found = [record for record in self._jobs.values() if matches(record, query)]
        found.sort(key=lambda record: _job_place(record, query), reverse=query.descending)
        return JobPage(items=found[query.offset : query.offset + query.limit], total_count=len(found))

    async def open_jobs(self) -> list[JobRecord]:
        found = [record for record in self._jobs.values() if record.open]
        return sorted(found, key=lambda record: (record.created_at, record.id))

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self.get_job(job_id, tenant)
        del self._jobs[job_id]

    async def add_resource(self, record: AnyResource) -> None:
        kind = kind_of(record)
        _add(self._resources, (kind, record.id), record, f"{kind} {record.id}")

    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        record = self._resources.get((kind, resource_id))
        if record is None or not (record.system or tenant in (None, record.tenant)):
            raise NotFound(f"There is no {kind} {resource_id}.")
        return record

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        before = await self.get_resource(kind, resource_id, tenant)
        return _update(self._resources, (kind, resource_id), before, change)

    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        found = [record for record in self._resources.values() if matches_resource(record, query)]
        found.sort(
            key=lambda record: record.id
        )  # a sort keeps the order of what is equal, so the ties come first
        found.sort(key=lambda record: record.created_at, reverse=True)
        if query.sort == "catalog":
            found.sort(key=lambda record: (not record.system, *_rank(record, descending=False)))
        else:
            found.sort(key=lambda record: _place(record, query), reverse=query.descending)
        return ResourcePage(items=found[query.offset : query.offset + query.limit], total_count=len(found))

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        if (await self.get_resource(kind, resource_id, tenant)).system:
            raise NotFound(f"There is no {kind} {resource_id} that can be deleted.")
        del self._resources[kind, resource_id]

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        for record in records:
            _check_storable(record)
        old = {key: record for key, record in self._resources.items() if record.system}
        for key in old:
            del self._resources[key]
        tenants = set(self._resources)
        for record in records:
            key = kind_of(record), record.id
            if key not in tenants:
                self._resources[key] = merge_system_resource(old[key], record) if key in old else record


def matches(record: JobRecord, query: JobQuery) -> bool:
    """Return whether a list with this query contains the job."""
    fields = (
        (query.status, (record.state,)),
        (query.name, (record.request.name,)),
        (query.tags, record.request.tags),
        (query.owner, (record.owner,)),
        (query.experiment_id, (record.experiment.id if record.experiment else "",)),
        *((terms, record.labels.get(label, ())) for label, terms in query.labels.items()),
    )
    return (
        query.tenant in (None, record.tenant)
        and all(terms is None or terms.allows(values) for terms, values in fields)
        and record.request.name.startswith(query.name_prefix)
        and (query.created_after is None or query.created_after <= record.created_at)
        and (query.created_before is None or record.created_at < query.created_before)
        and query.pinned in (None, record.progress.pinned)
    )


def matches_resource(record: AnyResource, query: ResourceQuery) -> bool:
    """Return whether a list with this query contains the provider or collection."""
    fields = (
        (query.name, (record.config.name,)),
        (query.owner, (record.owner,)),
        (query.category, (record.config.category if isinstance(record, CollectionRecord) else "",)),
        *((terms, resource_labels(record).get(label, ())) for label, terms in query.labels.items()),
    )
    return (
        query.kind is kind_of(record)
        and (record.system or query.tenant in (None, record.tenant))
        and query.system in (None, record.system)
        and all(terms is None or terms.allows(values) for terms, values in fields)
    )


def _add(records: dict[K, R], key: K, record: R, name: str) -> None:
    if key in records:
        raise AlreadyExists(f"A {name} is stored already; give the new one another id.")
    _check_storable(record)
    records[key] = record


def _update(records: dict[K, R], key: K, before: R, change: Callable[[R], R | None]) -> R:
    after = change(before)
    if after is None or after is before:
        return before
    check_identity(_kind_name(before), before, after)
    _check_storable(after)
    records[key] = after
    return after


def _check_storable(record: JobRecord | AnyResource) -> None:
    """Refuse what other storages cannot write. Raises :class:`StorageError`."""
    try:
        encode(record, msgspec.json.Decoder(type(record)).decode)
    except UNWRITABLE as error:
        raise unwritable(_kind_name(record), record.id, error) from error


def _kind_name(record: JobRecord | AnyResource) -> str:
    return "job" if isinstance(record, JobRecord) else kind_of(record)


def _job_place(record: JobRecord, query: JobQuery) -> tuple[Any, ...]:
    ties = record.created_at, record.id
    if query.sort == "created_at":
        return ties
    if query.sort == "name":
        return record.request.name, *ties
    number = record.score if query.sort == "score" else record.duration_s
    if number is None:
        number = -inf if query.descending else inf
    return number, *ties


def _place(record: AnyResource, query: ResourceQuery) -> Any:
    if query.sort == "name":
        return record.config.name
    if query.sort == "curation_order":
        return _rank(record, descending=query.descending)
    return record.updated_at if query.sort == "updated_at" else record.created_at


def _rank(record: AnyResource, *, descending: bool) -> tuple[float, ...]:
    """The curation and pinned order; what has none comes last in a list that is sorted in this direction."""
    orders = (
        (record.config.curation_order, record.pinned_order)
        if isinstance(record, CollectionRecord)
        else (0, 0)
    )
    unranked = -inf if descending else inf
    return tuple(order or unranked for order in orders)
