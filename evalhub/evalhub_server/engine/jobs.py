"""Service for jobs: the operations of the REST API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from evalhub_server.domain import problems, transitions
from evalhub_server.domain.benchmark_progress import progress_fault
from evalhub_server.domain.lineage import lineage_id
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.refused_events import refused_event
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.exports import ExportService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_checks import JobChecker
from evalhub_server.engine.job_creation import KIND, IdempotencyKey, JobCreator
from evalhub_server.engine.job_ending import JobEnding
from evalhub_server.engine.job_facets import JobFacets
from evalhub_server.engine.job_logs import read_logs
from evalhub_server.engine.job_stopper import JobStopper
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.log_hub import LogHub
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import (
    ApiError,
    NotFound,
    StorageError,
    StorageLost,
    StorageUnavailable,
)
from evalhub_server.models.common import State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.models.rerun import RerunRequest
from evalhub_server.plugins.runtime import LogOptions, Runtime
from evalhub_server.plugins.storage import JobPage, JobQuery, Terms
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

MAX_LINEAGE = 100
"""Reruns of one chain that are listed."""
# Notes that are appended to the message of a storage error.
EVENT_BUFFERED = "The server keeps the event in memory and will store it later; a restart loses it, so send the event again."
EVENT_LOST = "The event is not stored: send it again when the server has been started again."


class JobService:
    """Creates, reads and changes jobs for clients; raises :class:`ApiError`."""

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
        samples: SampleCollector,
        stopper: JobStopper,
        max_benchmarks: int = -1,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._clock = clock
        self.exports = exports
        self.facets = JobFacets(store)
        self.rates = store.rates
        self.samples = samples
        self.log_hub = LogHub(runtime, store)
        self._creator = JobCreator(
            store, supervisor, runtime, resources, trackers, clock, new_id, exports, max_benchmarks
        )
        self._ending = JobEnding(store, stopper, runtime, clock, exports, samples)
        self.checker = JobChecker(self._creator, resources, runtime, trackers)

    @property
    def feed(self) -> ChangeFeed:
        """The committed changes of jobs."""
        return self._store.feed

    async def create(
        self, request: JobRequest, identity: Identity, key: IdempotencyKey | None = None
    ) -> JobRecord:
        """Validate a request, plan the job, store it and queue its benchmarks; see :class:`JobCreator`."""
        return await self._creator.create(request, identity, key)

    async def rerun(
        self, job_id: str, rerun: RerunRequest, identity: Identity, key: IdempotencyKey | None = None
    ) -> JobRecord:
        """Create a job that repeats benchmarks of another."""
        return await self._creator.rerun(await self.get(job_id, identity), rerun, identity, key)

    async def lineage(self, job: JobRecord, identity: Identity) -> Sequence[JobRecord]:
        """The jobs of a chain of reruns, oldest first: the first one, and the newest of the others."""
        first = lineage_id(job)
        labels = {"lineage": Terms(values=(first,))}
        reruns = await self.list(JobQuery(tenant=identity.scope, labels=labels, limit=MAX_LINEAGE))
        try:
            jobs = [await self._store.get(first, identity.scope), *reversed(reruns.items)]
        except NotFound:
            jobs = [*reversed(reruns.items)]
        except StorageError as error:
            raise problems.from_storage(KIND, first, error) from error
        return jobs

    async def get(self, job_id: str, identity: Identity) -> JobRecord:
        try:
            return await self._store.get(job_id, identity.scope)
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error

    async def list(self, query: JobQuery) -> JobPage:
        try:
            return await self._store.list(query)
        except StorageError as error:
            raise problems.query_failed(f"{KIND}s", error) from error

    async def list_running_first(self, query: JobQuery, count: int | None = None) -> JobPage:
        """A page of jobs, those that run before all others. ``query`` has no filter of states.

        ``count`` is the number of jobs that run and match, if that is known: with it, one page of the storage is mostly enough.
        Otherwise there are two, and a job whose state changes between them is in one place, or missing until the next list.
        """
        if count == 0:
            return await self.list(query)
        if count is not None and not query.offset:
            page = await self.list(query)
            ordered = sorted(page.items, key=lambda job: job.state is not State.RUNNING)
            if sum(job.state is State.RUNNING for job in ordered) == count:
                return replace(page, items=ordered)
        running = Terms(values=(State.RUNNING.value,))
        first = await self.list(replace(query, status=running))
        others = await self.list(
            replace(
                query,
                status=replace(running, negated=True),
                limit=query.limit - len(first.items),
                offset=max(query.offset - first.total_count, 0),
            )
        )
        known = {job.id for job in first.items}
        return JobPage(
            items=[*first.items, *(job for job in others.items if job.id not in known)],
            total_count=first.total_count + others.total_count,
        )

    async def report(self, job_id: str, event: BenchmarkEvent, identity: Identity) -> JobRecord:
        """Apply an adapter's event."""
        now, sidecar = self._clock(), self._runtime.sidecar
        if fault := progress_fault(event.progress):
            log.warning(
                "Ignored progress of an event",
                job_id=job_id,
                benchmark_index=event.benchmark_index,
                reason=fault,
            )

        def with_event(job: JobRecord) -> JobRecord:
            rewritten = sidecar.rewrite(event, job) if sidecar else event
            return transitions.apply_event(job, rewritten, now)

        try:
            return await self._store.update(job_id, identity.scope, with_event)
        except StorageLost as error:
            raise problems.from_storage(KIND, job_id, error, EVENT_LOST) from error
        except StorageUnavailable as error:
            buffered = self._store.defer(msgspec.json.encode(event), job_id, identity.scope, with_event)
            raise problems.from_storage(KIND, job_id, error, EVENT_BUFFERED if buffered else "") from error
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error

    async def note_refused_event(
        self, job_id: str, body: bytes, refusal: ApiError, identity: Identity
    ) -> None:
        """Log an event that was refused, and record it with its benchmark if that can be determined."""
        log.warning("Refused event", job_id=job_id, message_code=refusal.code, reason=refusal.reason)

        def noted(job: JobRecord) -> JobRecord:
            target = refused_event(body, refusal.reason, job)
            return transitions.event_refused(job, *target) if target else job

        try:
            await self._store.update(job_id, identity.scope, noted)
        except StorageError as error:
            log.debug("Refused event not recorded", job_id=job_id, error=str(error))

    async def pin(self, job_id: str, identity: Identity, *, pinned: bool) -> None:
        """Pin a job, so that it is never pruned, or unpin it."""
        try:
            await self._store.update(
                job_id,
                identity.scope,
                lambda job: job if job.progress.pinned == pinned else with_changes(job, pinned=pinned),
            )
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error

    async def cancel(self, job_id: str, identity: Identity) -> None:
        """Cancel a job; returns when nothing of it runs. Its logs stay."""
        await self._ending.cancel(job_id, identity)

    async def delete(self, job_id: str, identity: Identity, *, force: bool = False) -> str:
        """Stop a job, then remove its record and files; see :meth:`JobEnding.delete`."""
        return await self._ending.delete(job_id, identity, force=force)

    async def logs(
        self, job_id: str, index: int | None, options: LogOptions, identity: Identity
    ) -> AsyncGenerator[bytes, None]:
        """The output of one benchmark or, if ``index`` is None, of all; see :func:`read_logs`."""
        job = await self.get(job_id, identity)
        return await read_logs(self._runtime, job, index, options)
