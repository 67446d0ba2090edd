"""What clients can do with jobs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import problems, transitions
from evalhub_server.domain.effective import effective_benchmarks, plan, with_queue_kinds
from evalhub_server.domain.exports import without_debts
from evalhub_server.domain.record import BenchmarkRecord, JobRecord, TrackedExperiment
from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.jobstore import JobStore
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import ApiError, NotFound, StorageError
from evalhub_server.models.collection import Collection
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.plugins.runtime import LogOptions, Runtime
from evalhub_server.plugins.storage import JobPage, JobQuery
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

KIND = "evaluation job"


class Identity(Struct, kw_only=True, frozen=True):
    """Who asks. ``tenant`` empty: nobody was named, which only local mode allows and which sees everything."""

    tenant: str = ""
    user: str = ""

    @property
    def scope(self) -> str | None:
        """The tenant that storage is asked for; None means all."""
        return self.tenant or None


class JobService:
    """Jobs as the REST API offers them. Every method raises :class:`ApiError` for what a client must know."""

    def __init__(
        self,
        store: JobStore,
        supervisor: Supervisor,
        runtime: Runtime,
        catalog: Catalog,
        trackers: Sequence[Tracker],
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._runtime = runtime
        self._catalog = catalog
        self._trackers = list(trackers)
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: JobRequest, identity: Identity) -> JobRecord:
        """Check everything, snapshot it, store it, queue it."""
        request = with_queue_kinds(request)
        collection = self._collection(request)
        if collection is not None and request.collection is not None:
            ref = replace(request.collection, collection_updated_at=collection.updated_at)
            request = replace(request, collection=ref)
        benchmarks = effective_benchmarks(request, collection)
        job_plan = plan(
            request, collection, benchmarks, self._providers({b.provider_id: None for b in benchmarks})
        )
        await self._runtime.admit(request, job_plan, identity.tenant)
        job_id = self._new_id()
        job = transitions.new_job(
            job_id,
            request,
            job_plan,
            self._clock(),
            tenant=identity.tenant,
            owner=identity.user,
            experiment=await self._experiment(request, job_id, identity),
        )
        try:
            job = await self._store.add(job)
        except StorageError as error:
            raise problems.storage_failed(KIND, job_id, str(error)) from error
        self._supervisor.submit(job)
        log.info("Created evaluation job", job_id=job_id, benchmarks=len(job.benchmarks))
        return job

    def _collection(self, request: JobRequest) -> Collection | None:
        if request.collection is None or not request.collection.id:
            return None
        collection = self._catalog.collections.get(request.collection.id)
        if collection is None:
            raise problems.not_found("collection", request.collection.id)
        return collection

    def _providers(self, ids: dict[str, None]) -> dict[str, ProviderConfig]:
        found: dict[str, ProviderConfig] = {}
        for provider_id in ids:
            config = self._catalog.provider_configs.get(provider_id)
            if config is None:
                raise problems.not_found("provider", provider_id)
            found[provider_id] = config
        return found

    async def _experiment(
        self, request: JobRequest, job_id: str, identity: Identity
    ) -> TrackedExperiment | None:
        if request.experiment is None or not request.experiment.name.strip():
            return None
        if not self._trackers:
            raise problems.mlflow_required()
        experiments = [await t.resolve_experiment(request, job_id, identity.tenant) for t in self._trackers]
        return experiments[0]

    async def get(self, job_id: str, identity: Identity) -> JobRecord:
        try:
            return await self._store.get(job_id, identity.scope)
        except StorageError as error:
            raise _answer(job_id, error) from error

    async def list(self, query: JobQuery) -> JobPage:
        try:
            return await self._store.list(query)
        except StorageError as error:
            text = f"The request for the evaluation jobs failed: '{error}'."
            raise ApiError(500, "query_failed", text) from error

    async def report(self, job_id: str, event: BenchmarkEvent, identity: Identity) -> JobRecord:
        """Apply an adapter's event."""
        now = self._clock()
        try:
            return await self._store.update(
                job_id, identity.scope, lambda job: transitions.apply_event(job, event, now)
            )
        except StorageError as error:
            raise _answer(job_id, error) from error

    async def cancel(self, job_id: str, identity: Identity) -> None:
        """Cancel a job; returns when nothing of it runs. Its logs stay."""
        now = self._clock()
        try:
            job = await self._store.update(job_id, identity.scope, lambda job: transitions.cancel(job, now))
        except StorageError as error:
            raise _answer(job_id, error) from error
        await self._stopped(job)
        log.info("Cancelled evaluation job", job_id=job_id)

    async def delete(self, job_id: str, identity: Identity) -> None:
        """End a job if it runs, then remove every trace of it."""
        now = self._clock()
        try:
            job = await self._store.update(
                job_id,
                identity.scope,
                lambda job: without_debts(job if job.state.terminal else transitions.cancel(job, now)),
                owing=False,  # nobody wants to hear of the end of a job that is deleted
            )
            await self._stopped(job)
            await self._runtime.remove(job_id)
            await self._store.delete(job, identity.scope)
        except StorageError as error:
            raise _answer(job_id, error) from error
        log.info("Deleted evaluation job", job_id=job_id)

    async def _stopped(self, job: JobRecord) -> None:
        if not await self._supervisor.stop_job(job):
            raise problems.internal_error(
                f"the job {job.id} is {job.state.value}, but not all of it could be stopped yet; the server keeps trying. "
                "Ask again, and see the server's log for what hinders it"
            )

    async def logs(
        self, job_id: str, index: int | None, options: LogOptions, identity: Identity
    ) -> AsyncGenerator[bytes, None]:
        """The output of one benchmark, or of all of them under header lines. Raises before anything is yielded."""
        job = await self.get(job_id, identity)
        if index is None:
            return self._all_logs(job, options)
        if index >= len(job.benchmarks):
            raise problems.not_found("benchmark", str(index))
        return self._benchmark_logs(job.benchmarks[index], options)

    async def _all_logs(self, job: JobRecord, options: LogOptions) -> AsyncGenerator[bytes, None]:
        for benchmark in job.benchmarks:
            pod, container = self._runtime.log_source(benchmark.handle, job.id, benchmark.index)
            benchmark_id = job.plan.benchmarks[benchmark.index].id
            start = "\n" if benchmark.index else ""
            yield f"{start}=== pod={pod} container={container} benchmark_id={benchmark_id} ===\n".encode()
            async for chunk in self._benchmark_logs(benchmark, options):
                yield chunk

    async def _benchmark_logs(
        self, benchmark: BenchmarkRecord, options: LogOptions
    ) -> AsyncGenerator[bytes, None]:
        if benchmark.handle is not None:
            async for chunk in self._runtime.logs(benchmark.handle, options):
                yield chunk


def _answer(job_id: str, error: StorageError) -> ApiError:
    if isinstance(error, NotFound):
        return problems.not_found(KIND, job_id)
    return problems.storage_failed(KIND, job_id, str(error))
