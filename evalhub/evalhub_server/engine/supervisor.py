"""Owns every workload: one task for each benchmark that runs, from its turn in the queue to its last process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextvars import Context
from functools import partial

import structlog

from evalhub_server.domain import problems, transitions
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.queue import LaunchQueue, Slot
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.workload import Workload
from evalhub_server.errors import StorageError
from evalhub_server.models.common import Message
from evalhub_server.plugins.hookspecs import JobChanged
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import SupervisorSettings

log = structlog.get_logger()

RUNTIME_NOT_SELECTED = "runtime_not_selected"
"""Code of the notice of a benchmark that another runtime launched."""

# The SDK's "server stop" kills after five seconds.
SHUTDOWN_GRACE_S = 1.2
SHUTDOWN_STOP_S = 2.7
# How long a cancel waits beyond the grace. With the usual grace of ten seconds a client waits less than its own thirty.
STOP_PATIENCE_S = 12.0


class Supervisor:
    """Launches benchmarks in turn, watches them, and makes sure that none is forgotten.

    :meth:`start` first, :meth:`close` last. A benchmark that is not terminal is always either in the queue or has
    a task here.
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
        self._closing = False
        store.listen(self._on_change)

    @property
    def waiting(self) -> int:
        """How many benchmarks wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many workloads are started, watched or ended."""
        return len(self._tasks)

    async def start(self) -> None:
        """Pick up what an earlier server left: watch what may still run, queue what never started."""
        jobs = [job for job in await self._store.open() if job.unfinished]
        for job in jobs:
            for benchmark in job.benchmarks:
                await self._note_runtime(job, benchmark)
                if benchmark.has_workload and benchmark.is_foreign(self._runtime.name):
                    continue  # waits until its runtime is selected again
                if benchmark.has_workload:
                    slot = self._slot(job, benchmark.index)
                    self._queue.occupy(slot)
                    self._own(slot, job, benchmark)
                elif not benchmark.state.terminal:
                    self._queue.put(self._slot(job, benchmark.index))
        if jobs:
            log.info(
                "open jobs picked up", jobs=len(jobs), running=len(self._tasks), waiting=len(self._queue)
            )
        self._dispatch()

    async def _note_runtime(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        """Show or withdraw the notice that another runtime has to be selected."""
        notice = None
        if benchmark.has_workload and benchmark.is_foreign(self._runtime.name):
            text = problems.started_by(benchmark.runtime)
            notice = Message(
                message=text, message_code=RUNTIME_NOT_SELECTED, message_origin=transitions.SERVER
            )
            log.warning(
                "benchmark waits for its runtime",
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
            log.warning("notice not stored", job_id=job.id, benchmark_index=benchmark.index, error=str(error))

    def submit(self, job: JobRecord) -> None:
        """Queue every benchmark of a new job."""
        for benchmark in job.benchmarks:
            self._queue.put(self._slot(job, benchmark.index))
        self._dispatch()

    async def stop_job(self, job: JobRecord) -> bool:
        """Return when nothing of a job runs; False if that took too long, and is still being tried.

        The job must be terminal by then, so that nothing starts again.
        """
        for benchmark in job.benchmarks:
            self._queue.discard(self._slot(job, benchmark.index))
        tasks = [workload.stop() for workload in self._workloads.get(job.id, {}).values()]
        if not tasks:
            return True
        _, late = await asyncio.wait(tasks, timeout=self._settings.stop_grace + STOP_PATIENCE_S)
        return not late

    def known(self, job_id: str) -> JobRecord | None:
        """A job that something may run of, as it was when that was launched; also while the storage is away."""
        workloads = self._workloads.get(job_id, {}).values()
        return next((workload.job for workload in workloads if workload.job is not None), None)

    async def halt(self, job_id: str) -> bool:
        """Like :meth:`stop_job`, but without the storage: what becomes of it is stored later.

        That the job is cancelled must be deferred before, so that nothing starts again.
        """
        workloads = list(self._workloads.get(job_id, {}).values())
        for workload in workloads:
            workload.stop()
        gone = [asyncio.create_task(workload.gone.wait()) for workload in workloads]
        if not gone:
            return True
        _, late = await asyncio.wait(gone, timeout=self._settings.stop_grace + STOP_PATIENCE_S)
        for waiting in late:
            waiting.cancel()
        return not late

    async def close(self) -> None:
        """Let go of every workload. With a durable store they run on and are found again; otherwise they end.

        What is being stopped already is stopped in either case, sooner than it was to be.
        """
        self._closing = True
        workloads = [workload for by_index in self._workloads.values() for workload in by_index.values()]
        ending = [workload for workload in workloads if workload.stopping or not self._store.durable]
        if ending:
            stops = [workload.stop(SHUTDOWN_GRACE_S) for workload in ending]
            await asyncio.wait(stops, timeout=SHUTDOWN_STOP_S)
            if late := [workload for workload in ending if not workload.gone.is_set()]:
                log.error("workloads not stopped at shutdown", count=len(late))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _slot(self, job: JobRecord, index: int) -> Slot:
        model = job.request.model
        return Slot(job.id, index, job.plan.benchmarks[index].provider_id, model.url if model else "")

    def _dispatch(self) -> None:
        while not self._closing and (slot := self._queue.take()) is not None:
            self._own(slot, None, None)

    def _own(self, slot: Slot, job: JobRecord | None, benchmark: BenchmarkRecord | None) -> None:
        workload = Workload(slot, self._store, self._runtime, self._runs, self._settings, self._clock)
        if job is not None and benchmark is not None:
            workload.adopt(job, benchmark)
        # A context of its own: what a workload logs later belongs to no request.
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
        by_index.pop(slot.index, None)
        if not by_index:
            del self._workloads[slot.job_id]
        self._queue.release(slot)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Deleted while it was given up, at worst: a workload's task deals with everything else itself.
            log.error("supervision failed", job_id=slot.job_id, benchmark_index=slot.index, exc_info=error)
        self._dispatch()

    def _on_change(self, change: JobChanged) -> None:
        before, after = change.before, change.after
        if before is None or after is None:
            return
        for index, workload in self._workloads.get(after.id, {}).items():
            if before.benchmarks[index] is not after.benchmarks[index]:
                workload.on_change(after.benchmarks[index])
