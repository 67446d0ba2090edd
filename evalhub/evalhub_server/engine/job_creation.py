"""Creation of jobs: planning, reruns, and requests that are repeated with an idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid5
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import lineage, problems, transitions
from evalhub_server.domain.planning import (
    effective_benchmarks,
    plan,
    with_queue_kinds,
    with_trimmed_experiment,
)
from evalhub_server.domain.record import JobPlan, JobRecord, TrackedExperiment, with_changes
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.data_paths import check_data_paths
from evalhub_server.engine.exports import ExportService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.engine.task_names import offers
from evalhub_server.errors import AlreadyExists, ApiError, NotFound, StorageError, StorageUnavailable
from evalhub_server.models.job import JobRequest
from evalhub_server.models.rerun import RerunRequest
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

KIND = "evaluation job"
KEY_VALID = timedelta(days=1)
_KEYS = UUID("5f6a0d3e-6a2c-4b1e-9d0b-6a1f3c5d7e92")
"""The namespace of the ids of jobs with an idempotency key."""


class PlannedJob(Struct, kw_only=True, frozen=True):
    """A valid request with its plan, and the collection that it runs."""

    request: JobRequest
    plan: JobPlan
    collection: CollectionRecord | None


class IdempotencyKey(Struct, kw_only=True, frozen=True):
    """A client's key for one request; ``digest`` identifies the request."""

    key: str
    digest: str

    @classmethod
    def of(cls, key: str, *request: object) -> IdempotencyKey:
        content = msgspec.json.encode(request, order="deterministic")
        return cls(key=key, digest=hashlib.sha256(content).hexdigest())

    def job_id(self, tenant: str, day: int) -> str:
        """The id of the job that the key creates on a day, counted from the epoch."""
        return str(uuid5(_KEYS, msgspec.json.encode((tenant, self.key, day)).decode()))


NewJob = Callable[[str], Awaitable[tuple[JobRecord, CollectionRecord | None]]]
"""Builds the job with an id; the collection is the one whose runs it counts in."""


class JobCreator:
    """Creates jobs for clients; raises :class:`ApiError`. ``max_benchmarks`` is the limit of one job, -1 for none."""

    def __init__(
        self,
        store: JobStore,
        supervisor: Supervisor,
        runtime: Runtime,
        resources: ResourceService,
        trackers: Sequence[Tracker],
        clock: Clock,
        new_id: Callable[[], str],
        exports: ExportService,
        max_benchmarks: int,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._runtime = runtime
        self._resources = resources
        self._trackers = list(trackers)
        self._clock = clock
        self._new_id = new_id
        self._exports = exports
        self._max_benchmarks = max_benchmarks
        self._keys: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        self._maybe_stored: set[str] = set()
        """Jobs whose creation failed with an unknown outcome: if they are stored, their benchmarks are not queued."""

    async def create(
        self, request: JobRequest, identity: Identity, key: IdempotencyKey | None = None
    ) -> JobRecord:
        """Plan a job, store it and queue its benchmarks; with a ``key``, return the job that it created before."""

        async def new(job_id: str) -> tuple[JobRecord, CollectionRecord | None]:
            planned = await self.plan(request, identity)
            job = transitions.new_job(
                job_id,
                planned.request,
                planned.plan,
                self._clock(),
                tenant=identity.tenant,
                owner=identity.user,
                experiments=await self._experiments(planned.request, job_id, identity),
            )
            return job, planned.collection

        return await self._created(new, identity, key)

    async def rerun(
        self,
        original: JobRecord,
        rerun: RerunRequest,
        identity: Identity,
        key: IdempotencyKey | None = None,
    ) -> JobRecord:
        """Create a job that repeats benchmarks of a job as they were planned."""

        async def new(job_id: str) -> tuple[JobRecord, CollectionRecord | None]:
            indexes = lineage.selected_indexes(original, rerun.only)
            job = lineage.rerun_of(
                original,
                indexes,
                job_id,
                self._clock(),
                owner=identity.user,
                reuse_samples=rerun.reuse_samples,
            )
            await self._check_providers(original, job.plan, identity)
            await self._check_data_paths(job.plan)
            await self._runtime.admit(job.request, job.plan, job.tenant)
            if not lineage.in_lineage(original):
                # Before the rerun is stored, so that no crash leaves the first job without its lineage.
                await self._mark_repeated(original, identity)
            return job, None  # a collection counts its own jobs only

        return await self._created(new, identity, key)

    async def plan(self, request: JobRequest, identity: Identity) -> PlannedJob:
        """Validate a request against exporters, collection and providers, and plan it. Stores nothing."""
        self._exports.check(request)
        request = with_trimmed_experiment(with_queue_kinds(request))
        collection = await self._collection(request, identity)
        if collection is not None and request.collection is not None:
            ref = replace(request.collection, collection_updated_at=collection.updated_at)
            request = replace(request, collection=ref)
        benchmarks = effective_benchmarks(request, collection)
        if 0 <= self._max_benchmarks < len(benchmarks):
            raise problems.too_many_benchmarks(len(benchmarks), self._max_benchmarks)
        providers = {
            provider_id: await self._resources.get_provider(provider_id, identity)
            for provider_id in dict.fromkeys(benchmark.provider_id for benchmark in benchmarks)
        }
        for benchmark in benchmarks:
            if not offers(providers[benchmark.provider_id], benchmark.id):
                raise problems.does_not_exist("benchmark", benchmark.id)
        configs = {provider_id: provider.config for provider_id, provider in providers.items()}
        job_plan = plan(request, collection, benchmarks, configs)
        await self._check_data_paths(job_plan)
        await self._runtime.admit(request, job_plan, identity.tenant)
        return PlannedJob(request=request, plan=job_plan, collection=collection)

    async def _check_data_paths(self, job_plan: JobPlan) -> None:
        allowed = self._runtime.takes_test_data_paths and self._resources.commands_allowed
        await check_data_paths(job_plan, allowed=allowed)

    async def _mark_repeated(self, first: JobRecord, identity: Identity) -> None:
        try:
            await self._store.update(
                first.id, identity.scope, lambda job: with_changes(job, repeated=True), with_exports=False
            )
        except StorageError as error:
            raise problems.from_storage(KIND, first.id, error) from error

    async def _created(self, new: NewJob, identity: Identity, key: IdempotencyKey | None) -> JobRecord:
        if key is None:
            return await self._add(*await new(self._new_id()))
        async with self._keys.setdefault((identity.tenant, key.key), asyncio.Lock()):
            now = self._clock()
            today = key.job_id(identity.tenant, now.toordinal())
            for job_id in (key.job_id(identity.tenant, now.toordinal() - 1), today):
                stored = await self._stored(job_id, identity)
                if stored is not None and now - stored.created_at < KEY_VALID:
                    return self._repeated(stored, key)
            job, collection = await new(today)
            try:
                return await self._add(with_changes(job, request_digest=key.digest), collection)
            except AlreadyExists as error:  # another server has created it meanwhile
                stored = await self._stored(today, identity)
                if stored is None:
                    raise problems.from_storage(KIND, today, error) from error
                return self._repeated(stored, key)

    def _repeated(self, stored: JobRecord, key: IdempotencyKey) -> JobRecord:
        """The job of an earlier request with the key, if that was the same request."""
        if stored.definition.request_digest != key.digest:
            raise problems.idempotency_key_reused(stored.id)
        if stored.id in self._maybe_stored:
            self._submit(stored)
        log.info("Returned the job of an idempotency key", job_id=stored.id)
        return stored

    async def _add(self, job: JobRecord, collection: CollectionRecord | None) -> JobRecord:
        try:
            job = await self._stored_with_intents(job)
        except StorageError as error:
            if isinstance(error, AlreadyExists) and job.definition.request_digest:
                raise
            if isinstance(error, StorageUnavailable):
                self._maybe_stored.add(job.id)
            raise problems.from_storage(KIND, job.id, error) from error
        self._submit(job)
        log.info("Created evaluation job", job_id=job.id, benchmarks=len(job.benchmarks))
        if collection is not None:
            await self._resources.count_run(collection)
        return job

    async def _stored_with_intents(self, job: JobRecord) -> JobRecord:
        job = self._supervisor.reserve(job)
        try:
            return await self._store.add(job)
        except BaseException:
            self._supervisor.release(job)
            raise

    def _submit(self, job: JobRecord) -> None:
        self._maybe_stored.discard(job.id)
        if not job.state.terminal:
            self._supervisor.submit(job)

    async def _stored(self, job_id: str, identity: Identity) -> JobRecord | None:
        try:
            return await self._store.get(job_id, identity.scope)
        except NotFound:
            return None
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error

    async def _check_providers(self, original: JobRecord, job_plan: JobPlan, identity: Identity) -> None:
        """Refuse a rerun of providers that do not exist any more: their snapshots are not to outlive them."""
        for provider_id in job_plan.runtimes:
            try:
                await self._resources.get_provider(provider_id, identity)
            except ApiError as error:
                if error.status != 404:
                    raise
                reason = f"needs the provider '{provider_id}', which does not exist any more"
                raise problems.not_rerunnable(original.id, reason) from None

    async def _collection(self, request: JobRequest, identity: Identity) -> CollectionRecord | None:
        if request.collection is None or not request.collection.id:
            return None
        return await self._resources.get_collection(request.collection.id, identity)

    async def _experiments(
        self, request: JobRequest, job_id: str, identity: Identity
    ) -> dict[str, TrackedExperiment]:
        if request.experiment is None or not request.experiment.name:
            return {}
        if not self._trackers:
            raise problems.mlflow_required()
        return {
            tracker.name: await tracker.resolve_experiment(request, job_id, identity.tenant)
            for tracker in self._trackers
        }
