"""Supervisor of all workloads: launches queued benchmarks and runs a task for each until its last process exits."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from contextvars import Context
from functools import partial

import structlog

from evalhub_server.domain import problems, transitions
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.abandoned_launches import Launch
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.queue import LaunchQueue, Slot
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.unstopped import Failures
from evalhub_server.engine.workload import Workload
from evalhub_server.errors import StorageError
from evalhub_server.models.common import Message
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import SupervisorSettings

log = structlog.get_logger()

RUNTIME_NOT_SELECTED = "runtime_not_selected"
"""Code of the notice of a benchmark that another runtime launched."""

# Shutdown must be complete within five seconds, after which the SDK's "server stop" sends SIGKILL.
SHUTDOWN_GRACE_S = 1.2
SHUTDOWN_STOP_S = 2.7
# How long a cancel waits beyond the grace period: with the default of 10 s it stays below a client's timeout of 30 s.
STOP_TIMEOUT_S = 12.0
# How long it waits for a runtime that raises, which is retried with growing pauses.
FAILING_S = 3.0


class Supervisor:
    """Launches benchmarks in the order of the queue and watches them, from :meth:`start` to :meth:`close`; it can be started again.

    Created and cancelled jobs come from the changes that the store announces. Invariant while it is active: a benchmark that is not terminal is in the queue, has a task, or waits for its runtime to be selected.
    """

    def __init__(
        self, store: JobStore, runtime: Runtime, runs: RunBuilder, settings: SupervisorSettings, clock: Clock
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._runs = runs
        self._settings = settings
        self._clock = clock
        self._queue = LaunchQueue(runtime.limits)
        self._workloads: dict[str, dict[int, Workload]] = defaultdict(dict)
        self._tasks: set[asyncio.Task[None]] = set()
        self._active = False
        self._closing = False
        self._launches: list[Launch] = []
        self._reserved: set[Slot] = set()
        store.listen(self._on_change)

    @property
    def active(self) -> bool:
        """Whether it supervises: it is started and not closed."""
        return self._active

    @property
    def waiting(self) -> int:
        """The number of queued benchmarks."""
        return len(self._queue)

    @property
    def oldest_wait_s(self) -> float | None:
        """How long the first of the queued benchmarks has waited in this life of the server, in seconds."""
        return self._queue.oldest_wait_s

    @property
    def running(self) -> int:
        """The number of workloads being launched, watched or stopped."""
        return len(self._tasks)

    @property
    def runtime_failing(self) -> bool:
        """Whether a call of the runtime has failed and is being retried for any workload."""
        return any(
            workload.runtime_error is not None
            for by_index in self._workloads.values()
            for workload in by_index.values()
        )

    async def start(self) -> None:
        """Resume the open jobs of an earlier server: watch workloads that may run, queue benchmarks without one."""
        self._active, self._closing = True, False
        self._queue, self._reserved = LaunchQueue(self._runtime.limits), set()
        jobs = [job for job in await self._store.open() if job.unfinished]
        for job in jobs:
            for benchmark in job.benchmarks:
                await self._note_runtime(job, benchmark)
                if benchmark.has_workload and benchmark.is_foreign(self._runtime.name):
                    continue  # waits until its runtime is selected again
                if self._is_owned(job.id, benchmark.index):
                    continue  # since a change that was announced meanwhile
                if benchmark.has_workload:
                    slot = self._slot(job, benchmark.index)
                    if not _has_reported(job, benchmark):
                        self._queue.occupy(slot)
                    self._own(slot, job, benchmark)
                elif not benchmark.state.terminal:
                    self._queue.put(self._slot(job, benchmark.index))
        if jobs:
            log.info("Open jobs resumed", jobs=len(jobs), running=len(self._tasks), waiting=len(self._queue))
        self._dispatch()

    async def _note_runtime(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        """Set or clear the notice that another runtime must be selected."""
        notice = None
        if benchmark.has_workload and benchmark.is_foreign(self._runtime.name):
            text = problems.started_by(benchmark.runtime)
            notice = Message(
                message=text, message_code=RUNTIME_NOT_SELECTED, message_origin=transitions.SERVER
            )
            log.warning(
                "Benchmark waits for a runtime that is not selected",
                job_id=job.id,
                benchmark_index=benchmark.index,
                runtime=benchmark.runtime,
            )
        elif benchmark.warning is None or benchmark.warning.message_code != RUNTIME_NOT_SELECTED:
            return
        try:
            await self._store.update(
                job.id, None, lambda job: transitions.noticed(job, benchmark.index, notice, self._clock())
            )
        except StorageError as error:
            log.warning("Notice not stored", job_id=job.id, benchmark_index=benchmark.index, error=str(error))

    def reserve(self, job: JobRecord) -> JobRecord:
        """Take places for a job that is about to be stored; returns it with the intent to launch those benchmarks.

        So their launch needs no transaction of its own. Call :meth:`submit` when the job is stored, else :meth:`release`.
        """
        if not self._active or self._closing or not self._runtime.on_this_host:
            return job
        for benchmark in job.benchmarks:
            slot = self._slot(job, benchmark.index)
            if not self._queue.take_new(slot):
                break
            self._reserved.add(slot)
            job = transitions.launch_intended(
                job, benchmark.index, job.created_at, runtime=self._runtime.name
            )
        return job

    def release(self, job: JobRecord) -> None:
        """Give back the places of a job that is not stored."""
        for benchmark in job.benchmarks:
            slot = self._slot(job, benchmark.index)
            if slot in self._reserved:
                self._reserved.remove(slot)
                self._queue.release(slot)
        self._dispatch()

    def submit(self, job: JobRecord) -> None:
        """Launch the benchmarks of a new job that have a reserved place, and queue the others that have no workload yet."""
        if not self._active:
            return
        for benchmark in job.benchmarks:
            if self._is_owned(job.id, benchmark.index):
                continue
            slot = self._slot(job, benchmark.index)
            if slot in self._reserved and not self._closing:
                self._reserved.remove(slot)
                self._own(slot, job, benchmark, reserved=True)
            else:
                self._queue.put(slot)
        self._dispatch()

    def _is_owned(self, job_id: str, index: int) -> bool:
        return job_id in self._workloads and index in self._workloads[job_id]

    async def stop_job(self, job: JobRecord) -> Failures:
        """Stop the workloads of a job. Returns those that may still run after the timeout; stopping goes on.

        The job must be terminal already, so that nothing starts again.
        """
        stops = self._begin_stop(job)
        late = set(stops)
        until = time.monotonic() + self._settings.stop_grace + STOP_TIMEOUT_S
        while late and (left_s := until - time.monotonic()) > 0:
            _, late = await asyncio.wait(late, timeout=min(left_s, FAILING_S))
            if late and all(stops[task].runtime_error is not None for task in late):
                break  # more time would not help the client
        return [
            workload.runtime_error for task, workload in stops.items() if task in late or workload.given_up
        ]

    def _begin_stop(self, job: JobRecord) -> dict[asyncio.Task[None], Workload]:
        """Stop a job's workloads, and launch none of its benchmarks; returns the workloads by the task that ends with each."""
        for benchmark in job.benchmarks:
            self._queue.discard(self._slot(job, benchmark.index))
        return {workload.stop(): workload for workload in self._workloads.get(job.id, {}).values()}

    def launched_job(self, job_id: str) -> JobRecord | None:
        """A job with workloads as of a launch, without reading the storage; None if it has no workloads here."""
        workloads = self._workloads.get(job_id, {}).values()
        return next((workload.job for workload in workloads if workload.job is not None), None)

    async def stop_unstored(self, job_id: str) -> bool:
        """Like :meth:`stop_job` while the storage is unavailable: does not wait until the exits are stored.

        The cancellation must be buffered already, so that nothing starts again.
        """
        workloads = list(self._workloads.get(job_id, {}).values())
        for workload in workloads:
            workload.stop()
        gone = [asyncio.create_task(workload.gone.wait()) for workload in workloads]
        if not gone:
            return True
        _, late = await asyncio.wait(gone, timeout=self._settings.stop_grace + STOP_TIMEOUT_S)
        for waiting in late:
            waiting.cancel()
        return not late

    def begin_close(self) -> None:
        """Launch nothing more. Adapters that SIGTERM terminates from here on count as interrupted."""
        self._closing = True

    async def close(self) -> None:
        """Release all workloads. With a durable storage they keep running for the next server; otherwise they are stopped.

        Workloads that are already being stopped get a shorter grace period in either case.
        """
        self.begin_close()
        workloads = [workload for by_index in self._workloads.values() for workload in by_index.values()]
        ending = [workload for workload in workloads if workload.stopping or not self._store.durable]
        if ending:
            stops = [workload.stop(SHUTDOWN_GRACE_S) for workload in ending]
            await asyncio.wait(stops, timeout=SHUTDOWN_STOP_S)
            if late := [workload for workload in ending if not workload.gone.is_set()]:
                log.error("Workloads not stopped at shutdown", count=len(late))
        await self.abandon()

    def halt(self) -> None:
        """Cancel all supervision: no task takes another step. Call :meth:`abandon` afterwards."""
        self.begin_close()
        self._active = False
        self._launches = [
            Launch(workload.launching, index)
            for by_index in self._workloads.values()
            for index, workload in by_index.items()
            if workload.launching is not None
        ]
        for task in self._tasks:
            task.cancel()

    async def abandon(self) -> Sequence[Launch]:
        """Stop to supervise at once, without an effect on workloads: another server supervises them.

        Returns the launches that are under way, and may create something yet.
        """
        if self._active:
            self.halt()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        launches, self._launches = self._launches, []
        return launches

    def _slot(self, job: JobRecord, index: int) -> Slot:
        model = job.request.model
        provider_id = job.plan.benchmarks[index].provider_id
        return Slot(job.id, index, provider_id, model.url if model else "", job.tenant)

    def _dispatch(self) -> None:
        while not self._closing and (slot := self._queue.take()) is not None:
            self._own(slot, None, None)

    def _own(
        self,
        slot: Slot,
        job: JobRecord | None,
        benchmark: BenchmarkRecord | None,
        *,
        reserved: bool = False,
    ) -> None:
        workload = Workload(
            slot,
            self._store,
            self._runtime,
            self._runs,
            self._settings,
            self._clock,
            server_stops=lambda: self._closing,
        )
        if job is not None and benchmark is not None:
            workload.adopt(job, benchmark, reserved=reserved)
        # An empty context: what the workload logs belongs to no request.
        task = asyncio.create_task(
            workload.run(), name=f"benchmark-{slot.job_id}-{slot.index}", context=Context()
        )
        workload.task = task
        self._workloads[slot.job_id][slot.index] = workload
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, slot))

    def _ended(self, slot: Slot, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        by_index = self._workloads[slot.job_id]
        workload = by_index.pop(slot.index, None)
        if not by_index:
            del self._workloads[slot.job_id]
        self._queue.release(slot)
        if workload is not None and workload.relaunch:
            self._queue.put(slot)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Only if the job is deleted while its supervision fails: a workload's task handles all other errors.
            log.error("Supervision failed", job_id=slot.job_id, benchmark_index=slot.index, exc_info=error)
        self._dispatch()

    def _on_change(self, change: JobChanged) -> None:
        job = change.after
        if not self._active or job is None:
            return
        if change.before is None and not job.state.terminal:
            self.submit(job)
        if job.progress.cancelled and change.before is not None and not change.before.progress.cancelled:
            self._begin_stop(job)
        workloads = self._workloads.get(job.id)
        if workloads is None:
            return
        released = False
        for _, benchmark in change.benchmarks:
            workload = workloads.get(benchmark.index)
            if workload is not None:
                workload.on_change(job, benchmark)
                if _has_reported(job, benchmark):
                    released = self._queue.release(workload.slot) or released
        if released:
            self._dispatch()


def _has_reported(job: JobRecord, benchmark: BenchmarkRecord) -> bool:
    """Whether the benchmark has its result: a workload that stays alive afterwards occupies no slot of the queue."""
    return benchmark.state.terminal and not job.progress.cancelled
