"""Launches of attempts: each attempt once, ordinary ones on the event loop, those that take longer in tasks and threads."""

from __future__ import annotations

import asyncio

import structlog

from evalhub_runtime_local.attempt_files import Attempt, LocalHandle
from evalhub_runtime_local.command import Command
from evalhub_runtime_local.exit_watcher import ExitWatcher
from evalhub_runtime_local.launcher import Launcher, copies_files
from evalhub_runtime_local.process_table import SHORTAGES
from evalhub_runtime_local.terminate import Terminator
from evalhub_runtime_local.workload import Workloads
from evalhub_server.plugins import BenchmarkRun, LaunchError, RuntimeUnavailable, StartupError

log = structlog.get_logger()

MAX_CONCURRENT_COPIES = 4
EARLIER_ATTEMPT_GRACE_S = 5.0


class Launches:
    """Launches attempts. A repeated launch of an attempt returns the handle of the first one."""

    def __init__(
        self, launcher: Launcher, terminator: Terminator, workloads: Workloads, watcher: ExitWatcher
    ) -> None:
        self._launcher = launcher
        self._terminator = terminator
        self._workloads = workloads
        self._watcher = watcher
        self._tasks: dict[str, asyncio.Task[LocalHandle]] = {}
        """Launches that are not ordinary, by the marker of the attempt."""
        # The event loop does one launch, then other work. Those that copy files would fill its thread pool.
        self._turn = asyncio.Lock()
        self._copying = asyncio.Semaphore(MAX_CONCURRENT_COPIES)

    async def launch(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle:
        """Start the attempt, or find it. Raises :class:`LaunchError` or :class:`RuntimeUnavailable`."""
        try:
            async with self._turn:
                handle = self._start_ordinary(run, command, attempt)
                if handle is not None:
                    await asyncio.sleep(0)
                    return handle
            # Shielded: a thread cannot be stopped, and a repeated call gets its result.
            return await asyncio.shield(self._task(run, command, attempt))
        except StartupError as error:
            raise LaunchError(str(error)) from error
        except (OSError, ValueError) as error:
            text = (
                f"Local runtime could not start benchmark '{run.spec.benchmark_id}' of provider "
                f"'{run.spec.provider_id}': {error}"
            )
            if isinstance(error, OSError) and error.errno in SHORTAGES:
                raise RuntimeUnavailable(text) from error
            raise LaunchError(text) from error

    async def find(self, attempt: Attempt) -> LocalHandle | None:
        """Return the handle of an earlier launch of the attempt, perhaps one of an earlier server."""
        task = self._tasks.get(attempt.marker)
        if task is not None:
            await asyncio.wait([task])
        return await self._launcher.recover(attempt)

    async def close(self) -> None:
        """Wait for the launches under way."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start_ordinary(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle | None:
        """Start the attempt in one step, so that it cannot be cancelled; None if that could take long.

        It does not if no file is copied, and nothing was launched in the benchmark's directory before.
        """
        if attempt.marker in self._tasks or copies_files(run, command):
            return None
        if not self._launcher.create_directories(attempt):
            return None
        handle = self._launcher.start(run, command, attempt, first=True)
        self._started(run, command, attempt, handle)
        return handle

    def _task(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> asyncio.Task[LocalHandle]:
        marker = attempt.marker
        task = self._tasks.get(marker)
        if task is None:
            task = asyncio.create_task(self._launch(run, command, attempt), name=f"launch-{marker}")
            self._tasks[marker] = task
            task.add_done_callback(lambda task: self._done(marker, task))
        return task

    def _done(self, marker: str, task: asyncio.Task[LocalHandle]) -> None:
        del self._tasks[marker]
        if not task.cancelled():
            task.exception()  # retrieved, even if every caller was cancelled

    async def _launch(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle:
        first = self._launcher.create_directories(attempt)
        if not first:
            found = await self._launcher.recover(attempt)
            if found is not None:
                return found
            with self._workloads.earlier_attempts(attempt) as earlier:
                await self._terminator.stop(earlier, EARLIER_ATTEMPT_GRACE_S)
        async with self._copying:
            handle = await asyncio.to_thread(self._launcher.start, run, command, attempt, first=first)
        self._started(run, command, attempt, handle)
        return handle

    def _started(self, run: BenchmarkRun, command: Command, attempt: Attempt, handle: LocalHandle) -> None:
        self._watcher.watch(attempt, handle.leader, launched=True)
        bound = log.bind(
            job_id=run.spec.id,
            benchmark_id=run.spec.benchmark_id,
            benchmark_index=run.spec.benchmark_index,
            provider_id=run.spec.provider_id,
        )
        bound.info("local runtime job spec written", job_spec_path=handle.job_spec)
        bound.info("local runtime log file created", log_file=attempt.log)
        bound.info("local runtime process started", pid=handle.pid, command=command.text)
