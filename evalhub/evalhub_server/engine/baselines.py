"""Service for baselines: names of jobs, per tenant."""

from __future__ import annotations

from uuid import UUID, uuid5

import structlog
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.entity_tags import Tags
from evalhub_server.domain.resource import AnyResource, BaselineRecord, Kind
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.errors import AlreadyExists, NotFound, StorageError
from evalhub_server.models.baseline import BaselineConfig
from evalhub_server.plugins.storage import ResourcePage, ResourceQuery, Storage

KIND = Kind.BASELINE
_NAMES = UUID("8d3c1f0a-4b52-4e0f-9a77-0d6f5b2c9e31")
"""The namespace of the ids of baselines: one id for each tenant and name, so that storing one is atomic."""
_ATTEMPTS = 5

log = structlog.get_logger()


class BaselineService:
    """Reads and changes baselines for clients; raises :class:`ApiError`."""

    def __init__(self, storage: Storage, jobs: JobService, clock: Clock) -> None:
        self._storage = storage
        self._jobs = jobs
        self._clock = clock

    async def get(self, name: str, identity: Identity) -> BaselineRecord:
        try:
            record = await self._storage.get_resource(KIND, _id(name, identity), identity.scope)
        except StorageError as error:
            raise problems.from_storage(KIND, name, error) from error
        assert isinstance(record, BaselineRecord)  # noqa: S101  the storage's contract
        return record

    async def list(self, query: ResourceQuery) -> ResourcePage:
        try:
            return await self._storage.list_resources(query)
        except StorageError as error:
            raise problems.query_failed("baselines", error) from error

    async def put(
        self, name: str, job_id: str, identity: Identity, if_match: Tags | None = None
    ) -> BaselineRecord:
        """Let a name stand for a job."""
        await self._jobs.get(job_id, identity)
        now, baseline_id = self._clock(), _id(name, identity)
        new = BaselineRecord(
            id=baseline_id,
            tenant=identity.tenant,
            owner=identity.user,
            created_at=now,
            updated_at=now,
            config=BaselineConfig(name=name, job_id=job_id),
        )

        def changed(stored: AnyResource) -> AnyResource:
            if if_match is not None:
                if_match.check_edit(stored.updated_at, KIND, name)
            if stored.config == new.config:
                return stored
            assert isinstance(stored, BaselineRecord)  # noqa: S101  the storage's contract
            return replace(stored, config=new.config, updated_at=now)

        try:
            for _ in range(_ATTEMPTS):  # it may be deleted or created in between
                try:
                    record = await self._storage.update_resource(KIND, baseline_id, identity.scope, changed)
                except NotFound:
                    if if_match is not None:
                        raise problems.precondition_failed(KIND, name) from None
                else:
                    assert isinstance(record, BaselineRecord)  # noqa: S101  the storage's contract
                    return record
                try:
                    await self._storage.add_resource(new)
                except AlreadyExists:
                    continue
                log.info("Created baseline", baseline=name, job_id=job_id)
                return new
        except StorageError as error:
            raise problems.from_storage(KIND, name, error) from error
        raise problems.internal_error(f"the baseline '{name}' is changed too often; repeat the request")

    async def delete(self, name: str, identity: Identity) -> None:
        try:
            await self._storage.delete_resource(KIND, _id(name, identity), identity.scope)
        except StorageError as error:
            raise problems.from_storage(KIND, name, error) from error
        log.info("Deleted baseline", baseline=name)


async def baseline_jobs(storage: Storage) -> frozenset[str]:
    """The ids of the jobs that baselines of any tenant name. Raises :class:`StorageError`."""
    found: set[str] = set()
    query = ResourceQuery(kind=KIND, limit=1000)
    while True:
        page = await storage.list_resources(query)
        found.update(each.config.job_id for each in page.items if isinstance(each, BaselineRecord))
        if len(page.items) < query.limit:
            return frozenset(found)
        query = replace(query, offset=query.offset + query.limit)


def _id(name: str, identity: Identity) -> str:
    return str(uuid5(_NAMES, f"{identity.tenant}\0{name}"))
