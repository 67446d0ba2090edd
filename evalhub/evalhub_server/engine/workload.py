"""One benchmark's workload, from launch to its last process, in one task that is its only owner."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from evalhub_common.backoff import Backoff
from evalhub_server.domain import transitions
from evalhub_server.domain.record import BenchmarkRecord, Exit, JobRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.deadlines import Deadline, next_deadline
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.queue import Slot
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.runtime_retry import RETRY, RetryingRuntime
from evalhub_server.errors import (
    LaunchError,
    NotFound,
    RuntimeUnavailable,
    StorageError,
    StorageUnavailable,
)
from evalhub_server.models.common import Message, State
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Notice, Runtime
from evalhub_server.settings import SupervisorSettings

STORE_RETRY = Backoff(first_s=0.2, max_s=5.0)


class Workload:
    """:meth:`run` is the task. :meth:`stop` asks it to end what it owns; :meth:`changed` tells it of reports."""

    def __init__(
        self,
        slot: Slot,
        store: JobStore,
        runtime: Runtime,
        runs: RunBuilder,
        settings: SupervisorSettings,
        clock: Clock,
    ) -> None:
        self.slot = slot
        self.handle: Handle | None = None
        self.task: asyncio.Task[None] | None = None
        self._store = store
        self._runtime = runtime
        self._runs = runs
        self._settings = settings
        self._clock = clock
        self._benchmark: BenchmarkRecord | None = None
        self.job: JobRecord | None = None
        self.stopping = False
        self.gone = asyncio.Event()
        """Nothing of the workload runs. Before :meth:`run` is over, since that waits for the storage."""
        self.gone.set()
        self._wake = asyncio.Event()
        self._log = structlog.get_logger().bind(
            job_id=slot.job_id, benchmark_index=slot.index, provider_id=slot.provider_id
        )
        self._retrying = RetryingRuntime(runtime, settings.stop_grace, self._log)

    def found(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        """Start from what an earlier server stored instead of from a launch."""
        self.job, self._benchmark = job, benchmark
        self.handle = benchmark.handle
        self.gone.clear()
        self.stopping = job.progress.cancelled

    def changed(self, benchmark: BenchmarkRecord) -> None:
        """A committed change touched this benchmark."""
        moved = self._benchmark is None or self._benchmark.state is not benchmark.state
        self._benchmark = benchmark
        if moved:  # a phase is nothing that the task waits for
            self._wake.set()

    def stop(self, grace_s: float | None = None) -> asyncio.Task[None]:
        """Ask for the end; the returned task is done when nothing of the workload runs.

        ``grace_s`` replaces the configured time between asking a process to end and forcing it.
        """
        self.stopping = True
        if grace_s is not None:
            self._retrying.set_grace(grace_s)
        self._wake.set()
        assert self.task is not None  # noqa: S101  the supervisor sets it before anybody can ask
        return self.task

    async def run(self) -> None:
        try:
            if self.handle is None and not await self._launch():
                return
            assert self.handle is not None  # noqa: S101
            await self._watch(self.handle)
        except NotFound:
            # Hard-deleted meanwhile. Who deletes waits for this task before it removes files.
            if self.handle is not None:
                self._retrying.set_grace(0)
                await self._stop(self.handle)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # the supervisor lets go
            await self._end_anyhow(error)
        except Exception as error:  # noqa: BLE001  a runtime is a plugin; the benchmark must not hang for what it does
            await self._end_anyhow(error)

    async def _end_anyhow(self, error: BaseException) -> None:
        """Something that nobody thought of: end what runs and fail the benchmark, whatever it takes."""
        self._log.error("supervision failed", exc_info=error)
        job = self.job or await self._persist(lambda job: job)
        index = self.slot.index
        await self._stop_hidden(self._runs(job, index))
        text = f"The server failed to supervise this benchmark: {type(error).__name__}: {error}"
        await self._persist(lambda job: transitions.launch_failed(job, index, text, self._clock()))

    async def _stop_hidden(self, run: BenchmarkRun) -> None:
        """Stop what a launch that raised may have started."""
        handle = await self._retrying.find(run) if self.handle is None else self.handle
        if handle is not None:
            await self._retrying.stop(handle)
        self.gone.set()

    async def _launch(self) -> bool:
        """Start the workload, or find the one that a crash hid; False if there is none to watch."""
        index = self.slot.index
        job = await self._persist(
            lambda job: transitions.launch_intended(job, index, self._clock(), runtime=self._runtime.name)
        )
        benchmark = job.benchmarks[index]
        self.job, self._benchmark = job, benchmark
        if not benchmark.has_workload:
            return False
        self.gone.clear()
        run = self._runs(job, index)
        try:
            handle = await self._started(run)
            msgspec.json.encode(handle)  # raises here rather than in the storage, for ever
        except Exception as error:  # noqa: BLE001  a runtime is a plugin; whatever it raises fails this benchmark
            if not isinstance(error, LaunchError):
                self._log.error("runtime raised at launch", exc_info=error)
                await self._stop_hidden(run)
            self._log.error(
                f"{self._runtime.name} runtime benchmark launch failed",
                benchmark_id=run.spec.benchmark_id,
                error=str(error),
            )
            self.gone.set()
            text = str(error) or type(error).__name__
            await self._persist(lambda job: transitions.launch_failed(job, index, text, self._clock()))
            return False
        if handle is None:
            self.gone.set()
            await self._persist(
                lambda job: transitions.exited(job, index, Exit(lost=True), "", self._clock())
            )
            return False
        self.handle = handle
        await self._note(
            "handle", lambda job: transitions.launched(job, index, handle, runtime=self._runtime.name)
        )
        return True

    async def _started(self, run: BenchmarkRun) -> Handle | None:
        """Launch, again and again while the runtime cannot just now; once this is over, find what there may be.

        Over means that a stop was asked for, or that the benchmark was cancelled before a restart.
        """
        delays = RETRY.delays()
        while True:
            over = self.stopping or (self._benchmark is not None and self._benchmark.state.terminal)
            try:
                if over:
                    return await self._runtime.find(run)
                launch = asyncio.ensure_future(self._runtime.launch(run))
                try:
                    await self._until_stopping(launch)
                finally:
                    launch.cancel()
                await asyncio.wait([launch])
                if not (launch.cancelled() and self.stopping):
                    handle = launch.result()
                    await self._noticed(None)
                    return handle
            except RuntimeUnavailable as error:
                self._log.warning("runtime cannot launch now; asking again", error=str(error))
                if over:
                    await asyncio.sleep(next(delays))
                else:
                    await self._noticed(Notice(reason=error.reason, message=str(error)))
                    await self._until_stopping(timeout_s=next(delays))

    async def _until_stopping(
        self, other: asyncio.Future[Any] | None = None, timeout_s: float | None = None
    ) -> None:
        """Return when a stop is asked for, when ``other`` is done, or when the time is over."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.stopping and not (other is not None and other.done()):
            left_s = None if until is None else until - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            self._wake.clear()
            await self._wait_for(other, left_s)

    async def _listen(self, handle: Handle) -> None:
        """Show what the runtime says of the workload while it runs."""
        try:
            async for notice in self._runtime.notices(handle):
                await self._noticed(notice)
        except NotFound:
            return
        except Exception as error:  # noqa: BLE001  a runtime is a plugin; the workload does not depend on this
            self._log.error("runtime has no more notices", error=str(error))

    async def _noticed(self, notice: Notice | None) -> None:
        shown = self._benchmark.warning if self._benchmark else None
        if notice is None and (shown is None or shown.message_origin != transitions.SERVER):
            return  # a transaction for nothing
        message = notice and Message(
            message=notice.message, message_code=notice.reason, message_origin=transitions.SERVER
        )
        index = self.slot.index
        job = await self._note("notice", lambda job: transitions.noticed(job, index, message, self._clock()))
        if job is not None:
            self._benchmark = job.benchmarks[index]

    async def _watch(self, handle: Handle) -> None:
        name = f"{self.slot.job_id}-{self.slot.index}"
        waiting = asyncio.create_task(self._retrying.wait(handle), name=f"wait-{name}")
        listening = asyncio.create_task(self._listen(handle), name=f"notices-{name}")
        try:
            stop = await self._until_exit(handle, waiting)
            exit_ = await waiting
        finally:
            waiting.cancel()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        if stop is None:
            await self._until_reported()
            await self._stop(handle)  # what an adapter that has ended left running
        reported = self._benchmark is not None and self._benchmark.state.terminal
        tail = "" if reported else await self._retrying.log_tail(handle)
        index = self.slot.index
        self._log.info("workload ended", code=exit_.code, signal=exit_.signal, lost=exit_.lost)
        if isinstance(stop, Deadline):
            kind, limit_s = stop.kind, stop.limit_s
            await self._persist(
                lambda job: transitions.timed_out(job, index, kind, limit_s, tail, self._clock())
            )
        else:
            await self._persist(lambda job: transitions.exited(job, index, exit_, tail, self._clock()))

    async def _until_exit(self, handle: Handle, waiting: asyncio.Task[Exit]) -> Deadline | bool | None:
        """Return when the workload has ended: None by itself, True stopped on request, or the deadline it missed."""
        started = self._age_start()
        reported_at: float | None = None
        while not waiting.done():
            self._wake.clear()
            if self._benchmark is not None and self._benchmark.state.terminal and reported_at is None:
                reported_at = time.monotonic()
            if self.stopping:
                await self._stop(handle)
                return True
            silent = self._benchmark is None or self._benchmark.state is State.PENDING
            deadline = next_deadline(self._settings, started, reported_at, silent=silent)
            left_s = None if deadline is None else deadline.moment - time.monotonic()
            if deadline is not None and left_s is not None and left_s <= 0:
                self._log.warning(
                    "workload stopped at a deadline", deadline=deadline.kind, seconds=deadline.limit_s
                )
                await self._stop(handle)
                return deadline
            await self._wait_for(waiting, left_s)
        return None

    async def _wait_for(self, other: asyncio.Future[Any] | None, timeout_s: float | None) -> None:
        """Return when this is woken, when ``other`` is done, or when the time is over."""
        woken = asyncio.create_task(self._wake.wait())
        both = (woken,) if other is None else (woken, other)
        try:
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()

    def _age_start(self) -> float:
        """When the workload started, on the monotonic clock, also for one that an earlier server launched."""
        launched_at = self._benchmark.launched_at if self._benchmark else None
        age = (self._clock() - launched_at).total_seconds() if launched_at else 0.0
        return time.monotonic() - max(age, 0.0)

    async def _until_reported(self) -> None:
        """Give a result that is still on its way the time to arrive."""
        until = time.monotonic() + max(self._settings.exit_grace, self._runtime.exit_grace_s)
        while not self.stopping and not (self._benchmark and self._benchmark.state.terminal):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._wake.clear()
            await self._wait_for(None, left)

    async def _stop(self, handle: Handle) -> None:
        await self._retrying.stop(handle)
        self.gone.set()

    async def _note(self, what: str, change: Callable[[JobRecord], JobRecord | None]) -> JobRecord | None:
        """Store a change, or None: while the storage is away that is left for later, since what runs must be watched."""
        try:
            return await self._store.update(self.slot.job_id, None, change)
        except StorageUnavailable as error:
            self._log.error("failed to update benchmark status", error=str(error))
            self._store.defer(f"{what} {self.slot.index}".encode(), self.slot.job_id, None, change)
            return None

    async def _persist(self, change: Callable[[JobRecord], JobRecord | None]) -> JobRecord:
        """Store a change; while the storage fails, keep trying: nobody else knows what happened here."""
        delays = STORE_RETRY.delays()
        while True:
            try:
                return await self._store.update(self.slot.job_id, None, change)
            except NotFound:
                raise
            except StorageError as error:
                self._log.error("failed to update benchmark status", error=str(error))
            await asyncio.sleep(next(delays))
