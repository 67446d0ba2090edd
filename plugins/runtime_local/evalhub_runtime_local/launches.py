"""Launches of attempts: each attempt once, ordinary ones on the event loop, those that copy files in threads."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import structlog

from evalhub_runtime_local.attempt_files import Attempt, LocalHandle
from evalhub_runtime_local.command import Command
from evalhub_runtime_local.launcher import Launcher, copies_files
from evalhub_runtime_local.process_table import SHORTAGES
from evalhub_runtime_local.shim import ShimLost
from evalhub_runtime_local.terminate import Terminator
from evalhub_runtime_local.workload import Workloads
from evalhub_server.plugins import BenchmarkRun, LaunchError, RuntimeUnavailable, StartupError

log = structlog.get_logger()

MAX_CONCURRENT_COPIES = 4
EARLIER_ATTEMPT_GRACE_S = 5.0
CLOSE_WAIT_S = 5.0
STARTING_WAIT_S = 2.0
STARTING_PAUSE_S = 0.02


class Launches:
    """Launches attempts. A repeated launch of an attempt returns the handle of the first one."""

    def __init__(self, launcher: Launcher, terminator: Terminator, workloads: Workloads) -> None:
        self._launcher = launcher
        self._terminator = terminator
        self._workloads = workloads
        self._tasks: dict[str, asyncio.Task[LocalHandle]] = {}
        """Launches under way, by the marker of the attempt."""
        # The event loop prepares one launch, then does other work. Those that copy files would fill its thread pool.
        self._turn = asyncio.Lock()
        self._copying = asyncio.Semaphore(MAX_CONCURRENT_COPIES)

    async def launch(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle:
        """Start the attempt, or find it. Raises :class:`LaunchError` or :class:`RuntimeUnavailable`."""
        try:
            # Shielded: an adapter may be started while the caller is cancelled, and a repeated call gets the result.
            return await asyncio.shield(self._task(run, command, attempt))
        except StartupError as error:
            raise LaunchError(str(error)) from error
        except (OSError, ValueError) as error:
            text = (
                f"Local runtime could not start benchmark '{run.spec.benchmark_id}' of provider "
                f"'{run.spec.provider_id}': {error}"
            )
            if isinstance(error, ShimLost) or (isinstance(error, OSError) and error.errno in SHORTAGES):
                raise RuntimeUnavailable(text) from error
            raise LaunchError(text) from error

    async def find(self, attempt: Attempt) -> LocalHandle | None:
        """Return the handle of an earlier launch of the attempt, perhaps one of an earlier server."""
        task = self._tasks.get(attempt.marker)
        if task is not None:
            await asyncio.wait([task])
        return await self._launcher.recover(attempt)

    async def close(self) -> None:
        """Wait for the launches under way, but not for a shim that hangs."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=CLOSE_WAIT_S)

    async def _found(self, attempt: Attempt) -> LocalHandle | None:
        """The handle of an earlier start of the attempt, registered, so that its exit status is not taken with those of orphans."""
        found = await self._launcher.recover(attempt)
        until = time.monotonic() + STARTING_WAIT_S
        while found is not None and not found.pid and time.monotonic() < until:
            await asyncio.sleep(
                STARTING_PAUSE_S
            )  # its shim has created the record and not yet written the process id
            found = await self._launcher.recover(attempt)
        if found is not None:
            group = Path(found.cgroup) if found.cgroup else None
            self._workloads.add(attempt, found.leader, contained=False, cgroup=group)
        return found

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
        prepared = None
        async with self._turn:
            first = self._launcher.create_directories(attempt)
            if first and not copies_files(run, command):
                prepared = self._launcher.prepare(run, command, attempt, first=True)
            await asyncio.sleep(0)
        if not first and (found := await self._found(attempt)) is not None:
            return found
        if prepared is None:
            if not first:
                with self._workloads.earlier_attempts(attempt) as earlier:
                    await self._terminator.stop(earlier, EARLIER_ATTEMPT_GRACE_S)
            async with self._copying:
                prepared = await asyncio.to_thread(self._launcher.prepare, run, command, attempt, first=first)
        try:
            handle = await self._launcher.start(prepared)
        except FileExistsError:
            # The shim of a server that was killed has started it meanwhile.
            if (found := await self._found(attempt)) is None:
                raise
            return found
        bound = log.bind(
            job_id=run.spec.id,
            benchmark_id=run.spec.benchmark_id,
            benchmark_index=run.spec.benchmark_index,
            provider_id=run.spec.provider_id,
        )
        bound.info("local runtime job spec written", job_spec_path=handle.job_spec)
        bound.info("local runtime log file created", log_file=attempt.log)
        bound.info("local runtime process started", pid=handle.pid, command=command.text)
        return handle
