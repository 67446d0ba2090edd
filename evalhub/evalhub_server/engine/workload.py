"""Supervision of one workload, from launch to exit, by one task that owns it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import msgspec
import structlog
from msgspec.structs import replace

from evalhub_server.domain import transitions
from evalhub_server.domain.record import INTERRUPTED, BenchmarkRecord, Exit, JobRecord
from evalhub_server.engine.clock import Clock
from evalhub_server.engine.deadlines import Deadline, next_deadline, start_moment
from evalhub_server.engine.interruptible import Interrupted, InterruptibleCall
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.queue import Slot
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.runtime_retry import RETRY, Refusals, RetryingRuntime, is_cancelled
from evalhub_server.engine.unstopped import exit_of_refused
from evalhub_server.engine.wake import Wake
from evalhub_server.engine.workload_store import WorkloadStore
from evalhub_server.errors import (
    LaunchError,
    LeadershipLost,
    NotFound,
    RuntimeRefused,
    RuntimeUnavailable,
    StorageError,
)
from evalhub_server.models.common import State
from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Notice, Runtime
from evalhub_server.settings import SupervisorSettings


class Workload:
    """The workload of one benchmark: :meth:`run` is its task, :meth:`stop` and :meth:`on_change` are called by others."""

    def __init__(
        self,
        slot: Slot,
        store: JobStore,
        runtime: Runtime,
        runs: RunBuilder,
        settings: SupervisorSettings,
        clock: Clock,
        server_stops: Callable[[], bool] = lambda: False,
    ) -> None:
        self.slot = slot
        self.handle: Handle | None = None
        self.task: asyncio.Task[None] | None = None
        self._runtime = runtime
        self._runs = runs
        self._settings = settings
        self._clock = clock
        self._server_stops = server_stops
        self._benchmark: BenchmarkRecord | None = None
        self._job_continues = False  # as of the benchmark's last change
        self._intended_moment: float | None = None  # of the launch, unless an earlier server began it
        self.job: JobRecord | None = None
        """The job as of the launch."""
        self.stopping = False
        self.relaunch = False
        """Whether the benchmark waits for its next attempt, once :meth:`run` has returned."""
        self.runtime_error: BaseException | None = None
        """The error of the runtime's last call, which is retried."""
        self.given_up = False
        """Whether it may still run because the runtime is refused to stop it."""
        self.gone = asyncio.Event()
        """Set while nothing of the workload runs; :meth:`run` returns later, once the storage has the outcome."""
        self.gone.set()
        self._launching = InterruptibleCall()
        self._wake = Wake()
        self._log = structlog.get_logger().bind(
            job_id=slot.job_id, benchmark_index=slot.index, provider_id=slot.provider_id
        )
        self._stored = WorkloadStore(store, slot, self._log, expects_samples=runtime.hands_over_samples)
        self._retrying = RetryingRuntime(
            runtime, settings.stop_grace, self._log, self._show_failure, self._stored.check_leading
        )

    def adopt(self, job: JobRecord, benchmark: BenchmarkRecord, *, reserved: bool = False) -> None:
        """Continue with a workload that an earlier server launched, or of which the intent was ``reserved`` just now."""
        self.job, self._benchmark = job, benchmark
        if reserved:
            self._intended_moment = time.monotonic()
        self.handle = benchmark.handle
        self.gone.clear()
        self.stopping = job.progress.cancelled

    def on_change(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        """Receive a committed change of the benchmark, with the job after it."""
        self._job_continues = not job.state.terminal
        state_changed = self._benchmark is None or self._benchmark.state is not benchmark.state
        self._benchmark = benchmark
        if state_changed:  # the task does not wait for other changes, such as phases
            self._wake.set()

    def stop(self, grace_s: float | None = None) -> asyncio.Task[None]:
        """Request a stop; the returned task is done when nothing of the workload runs.

        ``grace_s`` replaces the configured grace period before SIGKILL.
        """
        if not self.stopping:
            self.runtime_error = None  # of an earlier call, not of the stop
            self._retrying.retry_stop()
            self._launching.interrupt()
        self.stopping = True
        if grace_s is not None:
            self._retrying.set_grace(grace_s)
        self._wake.set()
        assert self.task is not None  # noqa: S101  the supervisor sets it before it returns to the event loop
        return self.task

    @property
    def launching(self) -> JobRecord | None:
        """The job while its launch is under way and may create something; else None."""
        return self.job if self.handle is None and not self.gone.is_set() else None

    @property
    def _benchmark_is_terminal(self) -> bool:
        return self._benchmark is not None and self._benchmark.state.terminal

    async def run(self) -> None:
        """Launch the workload unless it was adopted, then watch it until nothing of it runs."""
        try:
            if self.handle is None and not await self._launch():
                return
            assert self.handle is not None  # noqa: S101
            await self._watch(self.handle)
        except LeadershipLost as error:
            self._log.warning("Workload is left to the leader", error=str(error))
        except NotFound:
            # Hard-deleted meanwhile. The delete waits for this task before it removes files.
            if self.handle is not None:
                self._retrying.set_grace(0)
                await self._stop(self.handle)
        except (asyncio.CancelledError, Exception) as error:
            if is_cancelled(error):
                raise  # the supervisor closes
            # A runtime is a plugin; whatever it raises, the benchmark must not hang.
            await self._fail_unexpectedly(error)

    async def _fail_unexpectedly(self, error: BaseException) -> None:
        """Unexpected error: stop the workload, fail the benchmark."""
        self._log.error("Supervision failed", exc_info=error, **call_fields(error))
        job = self.job or await self._stored.persist(lambda job: job)
        index = self.slot.index
        await self._stop_failed_launch(job)
        text = f"The server failed to supervise this benchmark: {type(error).__name__}: {error}"
        await self._stored.persist_end(lambda job: transitions.launch_failed(job, index, text, self._clock()))

    async def _stop_failed_launch(self, job: JobRecord) -> None:
        """Stop the workload, which a launch that raised may have started nevertheless."""
        handle = self.handle
        if handle is None:
            handle = await self._retrying.find(partial(self._runs, job, self.slot.index))
        if handle is None:
            self.gone.set()
        else:
            await self._stop(handle)

    async def _launch(self) -> bool:
        """Launch the workload, or find one launched before a crash; False if there is none to watch."""
        index = self.slot.index
        if self.job is None or self._intended_moment is None:
            adopted = self.job is not None
            self.job = await self._stored.persist(
                lambda job: transitions.launch_intended(job, index, self._clock(), runtime=self._runtime.name)
            )
            self._benchmark = self.job.benchmarks[index]
            if not self._benchmark.has_workload:
                return False
            if not adopted:
                self._intended_moment = time.monotonic()
            self.gone.clear()
        job = self.job
        run = await self._runs.for_launch(job, index)
        try:
            handle = await self._launch_or_find(run)
            msgspec.json.encode(handle)  # an invalid handle must raise here, not in every attempt to store it
        except LeadershipLost:
            raise
        except Exception as error:  # noqa: BLE001  a runtime is a plugin; whatever it raises fails this benchmark
            if not isinstance(error, LaunchError):
                self._log.error(
                    "Runtime raised an unexpected error at launch", exc_info=error, **call_fields(error)
                )
                await self._stop_failed_launch(job)
            self._log.error(
                f"{self._runtime.name} runtime benchmark launch failed",
                benchmark_id=run.spec.benchmark_id,
                error=str(error),
            )
            self.gone.set()
            text = str(error) or type(error).__name__
            await self._stored.persist(lambda job: transitions.launch_failed(job, index, text, self._clock()))
            return False
        if handle is None:
            self.gone.set()
            await self._stored.persist_end(
                lambda job: transitions.exited(job, index, Exit(lost=True), None, self._clock())
            )
            return False
        self.handle = handle
        await self._stored.persist_handle(handle, self._runtime)
        return True

    async def _launch_or_find(self, run: BenchmarkRun) -> Handle | None:
        """Launch, with retries while the runtime is unavailable.

        After a stop request, or if the benchmark is terminal, only find its workload; None if there is none.
        """
        delays, refusals = RETRY.delays(), Refusals()
        while True:
            stopping = self.stopping or self._benchmark_is_terminal
            try:
                if stopping:
                    return await self._runtime.find(run)
                self._stored.check_leading()
                handle = await self._launching.result(self._runtime.launch(run))
                self.runtime_error = None
                await self._show_notice(None)
                return handle
            except Interrupted:
                continue  # it is being stopped
            except RuntimeUnavailable as error:
                self.runtime_error = error
                self._log.warning("Runtime unavailable; retrying the launch", error=str(error))
                if stopping and refusals.exhausted(error):
                    self.given_up = True
                    self._log.error("It is unknown whether a workload runs", error=str(error))
                    return None
                if stopping:
                    await asyncio.sleep(next(delays))
                else:
                    await self._show_notice(Notice(reason=error.reason, message=str(error)))
                    await self._wake.until(lambda: self.stopping, next(delays))

    async def _follow_notices(self, handle: Handle) -> None:
        """Show the runtime's notices about the running workload as the benchmark's warning."""
        try:
            async for notice in self._runtime.notices(handle):
                await self._show_notice(notice)
        except NotFound:
            return
        except Exception as error:  # noqa: BLE001  a runtime is a plugin; the workload does not depend on this
            self._log.error("Runtime failed to report notices", error=str(error), **call_fields(error))

    async def _show_notice(self, notice: Notice | None) -> None:
        stored = await self._stored.show_notice(notice, self._benchmark, self._clock)
        self._benchmark = stored or self._benchmark

    async def _show_failure(self, notice: Notice, error: BaseException) -> None:
        self.runtime_error = error
        try:
            await self._show_notice(notice)
        except StorageError as failed:  # or the job was deleted: the runtime's call is retried nevertheless
            self._log.warning("Runtime error not stored", error=str(failed))

    async def _watch(self, handle: Handle) -> None:
        name = f"{self.slot.job_id}-{self.slot.index}"
        waiting = asyncio.create_task(self._retrying.wait(handle), name=f"wait-{name}")
        waiting.add_done_callback(lambda _: self._wake.set())
        notices = None
        if self._runtime.__class__.notices is not Runtime.notices:  # which has none
            notices = asyncio.create_task(self._follow_notices(handle), name=f"notices-{name}")
        try:
            stop = await self._until_exit(handle, waiting)
            if stop is None:
                # A report may still be in flight.
                grace_s = max(self._settings.exit_grace, self._runtime.exit_grace_s)
                await self._wake.until(lambda: self.stopping or self._benchmark_is_terminal, grace_s)
            # Also processes that an ended adapter left behind. The exit does not wait for what is refused.
            refused = await self._stop(handle, until_refused=stop is not True)
            exit_ = await waiting if refused is None or waiting.done() else exit_of_refused(refused)
        finally:
            waiting.cancel()
            if notices is not None:
                notices.cancel()
                await asyncio.gather(notices, return_exceptions=True)
        tail = None if self._benchmark_is_terminal else await self._retrying.log_tail(handle)
        if self._runtime.hands_over_samples:
            self._stored.left_files = await self._retrying.left_files(handle)
        index = self.slot.index
        self._log.info("Workload exited", code=exit_.code, signal=exit_.signal, lost=exit_.lost)
        if isinstance(stop, Deadline):
            kind, limit_s = stop.kind, stop.limit_s
            await self._stored.persist_end(
                lambda job: transitions.timed_out(job, index, kind, limit_s, tail, self._clock())
            )
        else:
            await self._persist_exit(exit_, tail)
        if refused is not None and stop is not True:
            await self._stop(handle)

    async def _persist_exit(self, exit_: Exit, tail: str | None) -> None:
        if self._server_stops() and exit_.signal == "SIGTERM" and not exit_.reason:
            # A service manager or a shutdown of the host signals adapters, too.
            exit_ = replace(exit_, reason=INTERRUPTED)
        index, restart = self.slot.index, self._settings.restart_interrupted

        def exited(job: JobRecord) -> JobRecord:
            return transitions.exited(job, index, exit_, tail, self._clock(), restart_interrupted=restart)

        late = self._benchmark_is_terminal and not self.stopping and not self._server_stops()
        if late and self._runtime.on_this_host:
            await self._stored.persist_late_end(exited, job_continues=self._job_continues)
        else:
            job = await self._stored.persist_end(exited)
            self.relaunch = not job.benchmarks[index].state.terminal

    async def _until_exit(self, handle: Handle, waiting: asyncio.Task[Exit]) -> Deadline | bool | None:
        """Wait for the workload to exit; None if it did, True if it is to be stopped on request, or the missed deadline."""
        started = self._intended_moment or await start_moment(
            self._retrying, handle, self._benchmark and self._benchmark.launched_at, self._clock
        )
        reported_at: float | None = None
        while not waiting.done():
            self._wake.clear()
            if self._benchmark_is_terminal and reported_at is None:
                reported_at = time.monotonic()
            if self.stopping:
                return True
            silent = self._benchmark is None or self._benchmark.state is State.PENDING
            deadline = next_deadline(self._settings, started, reported_at, silent=silent)
            left_s = None if deadline is None else deadline.moment - time.monotonic()
            if deadline is not None and left_s is not None and left_s <= 0:
                self._log.warning(
                    "Workload stopped at a deadline", deadline=deadline.kind, seconds=deadline.limit_s
                )
                return deadline
            await self._wake.wait(left_s)
        return None

    async def _stop(self, handle: Handle, *, until_refused: bool = False) -> RuntimeRefused | None:
        """Stop the workload; returns why that is refused, or None."""
        refused = await self._retrying.stop(handle, until_refused=until_refused)
        if refused is None:
            self.gone.set()
        elif not until_refused:
            self.given_up = True
            self._log.error("Workload not stopped; it may still run", error=str(refused), handle=handle)
        return refused
