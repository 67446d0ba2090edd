"""Cancellation and deletion of jobs for clients."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from evalhub_server.domain import problems, transitions
from evalhub_server.domain.outbox import without_pending_exports
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.exports import ExportService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_creation import KIND
from evalhub_server.engine.job_stopper import JobStopper
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.engine.unstopped import left_running, not_removed, not_stopped, refusals
from evalhub_server.errors import (
    RuntimeUnavailable,
    SampleStoreUnavailable,
    StorageError,
    StorageLost,
    StorageUnavailable,
)
from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.runtime import Runtime

log = structlog.get_logger()

# Notes that are appended to the message of a storage error.
CANCEL_BUFFERED = (
    "All workloads of the job are stopped. The server keeps the cancellation in memory and will store it later; a "
    "restart loses it, so repeat the request."
)
CANCEL_LOST = (
    "All workloads of the job are stopped, but the cancellation is not stored: repeat the request when the server has "
    "been started again."
)
FILES_REMOVED = "All workloads of the job are stopped and its files are removed, but its record is not: repeat the request."


class JobEnding:
    """Ends jobs at the request of clients; raises :class:`ApiError`."""

    def __init__(
        self,
        store: JobStore,
        stopper: JobStopper,
        runtime: Runtime,
        clock: Clock,
        exports: ExportService,
        samples: SampleCollector,
    ) -> None:
        self._store = store
        self._stopper = stopper
        self._runtime = runtime
        self._clock = clock
        self._exports = exports
        self._samples = samples

    async def cancel(self, job_id: str, identity: Identity) -> None:
        """Cancel a job; returns when nothing of it runs. Its logs stay."""
        now = self._clock()

        def cancelled(job: JobRecord) -> JobRecord:
            after = transitions.cancel(job, now)
            for benchmark in self._foreign(job):
                if benchmark.has_workload:
                    raise problems.runtime_not_selected(
                        job_id, "cancelled", benchmark.index, benchmark.runtime
                    )
            return after

        try:
            job = await self._store.update(job_id, identity.scope, cancelled)
        except StorageUnavailable as error:
            job = await self._last_known(job_id, identity)
            if job is not None:
                cancelled(job)  # raises if the job cannot be cancelled anyway
            lost = isinstance(error, StorageLost)
            stopped = await self._stop_unstored(job_id, job, identity, lost=lost)
            note = (CANCEL_LOST if lost else CANCEL_BUFFERED) if stopped else ""
            raise problems.from_storage(KIND, job_id, error, note) from error
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error
        if failures := await self._stopper.stop_job(job):
            raise not_stopped(job_id, job.state.value, failures)
        log.info("Cancelled evaluation job", job_id=job_id)

    async def delete(self, job_id: str, identity: Identity, *, force: bool = False) -> str:
        """Stop a job, then remove its record and files; returns sentences about what may be left, or an empty text.

        ``force``: also delete a job of a runtime that is not selected, or that fails to stop the job, of which only the
        record can be removed. Stopping is retried in the background.
        """
        note = ""
        try:
            try:
                left = await self._delete(job_id, identity, force=force)
            except StorageLost:
                raise  # a record that is put back must not be without its files
            except StorageUnavailable:
                job = await self._last_known(job_id, identity)
                if job is not None:
                    self._check_deletable(job, force=force)
                if not await self._stop_unstored(job_id, job, identity) or job is None:
                    raise
                await self._remove_files(job)  # if the disk is full, this may make room
                note = FILES_REMOVED
                left = await self._delete(job_id, identity, force=force)
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error, note) from error
        if left:
            log.warning("Deleted evaluation job is not removed completely", job_id=job_id, left=left)
        log.info("Deleted evaluation job", job_id=job_id)
        return left

    async def _delete(self, job_id: str, identity: Identity, *, force: bool) -> str:
        now = self._clock()

        before: list[JobRecord] = []

        def closed(job: JobRecord) -> JobRecord:
            self._check_deletable(job, force=force)
            before.append(job)
            return without_pending_exports(job if job.state.terminal else transitions.cancel(job, now))

        job = await self._store.update(
            job_id,
            identity.scope,
            closed,
            with_exports=False,  # the end of a job that is being deleted is not exported
        )
        await self._exports.end_runs(before[-1])
        running = await self._stop_for_deletion(job, force=force)
        left = await self._remove_files(job, force=force)
        await self._store.delete(job, identity.scope)
        try:
            await self._samples.remove(job.id)  # an upload may have come meanwhile
        except SampleStoreUnavailable as error:
            log.warning("Late samples of a deleted job not removed", job_id=job.id, error=str(error))
        for benchmark in self._foreign(job):
            log.warning(
                "Deleted a benchmark of a runtime that is not selected; it may still run, and its files are kept",
                job_id=job_id,
                benchmark_index=benchmark.index,
                runtime=benchmark.runtime,
                handle=benchmark.handle,
            )
        return " ".join(filter(None, (running, left)))

    def _foreign(self, job: JobRecord) -> Sequence[BenchmarkRecord]:
        """The benchmarks that were launched by a runtime that is not selected."""
        return [benchmark for benchmark in job.benchmarks if benchmark.is_foreign(self._runtime.name)]

    def _check_deletable(self, job: JobRecord, *, force: bool) -> None:
        if not force and (foreign := self._foreign(job)):
            raise problems.runtime_not_selected(job.id, "deleted", foreign[0].index, foreign[0].runtime)

    async def _last_known(self, job_id: str, identity: Identity) -> JobRecord | None:
        """The job while the storage is unavailable for writes: from the storage if it can be read, else as launched.

        None if it is unknown whether the job exists. Raises :class:`NotFound`.
        """
        try:
            return await self._store.get(job_id, identity.scope)
        except StorageUnavailable:
            job = self._stopper.launched_job(job_id)
            return job if job is not None and identity.scope in (None, job.tenant) else None

    async def _stop_unstored(
        self, job_id: str, job: JobRecord | None, identity: Identity, *, lost: bool = False
    ) -> bool:
        """Buffer the cancellation of a job and stop its workloads; False if the job is unknown or the buffer full.

        ``lost``: the storage is lost, so nothing is buffered. False, too, if another server supervises the job.
        """
        now = self._clock()
        if (lost and job is None) or not self._stopper.supervises:
            return False
        if not lost and (job is None or not job.state.terminal):
            buffered = self._store.defer(
                b"cancel", job_id, identity.scope, lambda job: transitions.cancel(job, now)
            )
            if job is None or not buffered:
                return False
        if not await self._stopper.stop_unstored(job_id):
            raise not_stopped(job_id, "not cancelled yet")
        return True

    async def _remove_files(self, job: JobRecord, *, force: bool = False) -> str:
        """Remove the files; returns a sentence about what is left, or an empty text."""
        try:
            await self._samples.remove(job.id)
            return await self._runtime.remove(job.id, job.tenant) or ""
        except Exception as error:
            if force:
                log.error(
                    "Runtime failed to remove the files of a deleted job",
                    job_id=job.id,
                    exc_info=error,
                    **call_fields(error),
                )
                return ""
            if isinstance(error, RuntimeUnavailable):
                raise not_removed(job.id, job.state.value, error) from error
            raise

    async def _stop_for_deletion(self, job: JobRecord, *, force: bool) -> str:
        """Stop the workloads of a job that is being deleted; returns a sentence about those that may still run."""
        failures = await self._stopper.stop_job(job)
        refused = refusals(failures)
        if refused is not None:
            return left_running(refused)
        if not force:
            raise not_stopped(job.id, job.state.value, failures)
        log.error("Deleted a job whose workloads are not stopped; the server keeps trying", job_id=job.id)
        return ""
