"""Adapters as processes on this host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from evalhub_runtime_local.attempt_files import Attempt, LocalHandle, attempt_of
from evalhub_runtime_local.command import Command, command_of
from evalhub_runtime_local.exit_watcher import Followers
from evalhub_runtime_local.launcher import Starter, find_shell
from evalhub_runtime_local.logs import tail
from evalhub_runtime_local.paths import JobsDir
from evalhub_runtime_local.process_tree import (
    NOBODY,
    SHORTAGES,
    Census,
    Identity,
    ProcessTable,
    boot_id,
    process_table,
)
from evalhub_runtime_local.settings import LocalSettings, directory, jobs_dir, limits
from evalhub_runtime_local.sidecar import local_sidecar
from evalhub_runtime_local.terminate import Stopper
from evalhub_server.domain.record import Exit
from evalhub_server.errors import LaunchError, RuntimeUnavailable, SettingsError, StartupError
from evalhub_server.plugins import (
    BenchmarkRun,
    Handle,
    JobPlan,
    JobRequest,
    LogOptions,
    PluginContext,
    Runtime,
    SidecarUrls,
)

log = structlog.get_logger()

# Each start writes a few files; more at once would only fill the event loop's thread pool.
LAUNCHES_AT_ONCE = 4
EARLIER_ATTEMPT_GRACE_S = 5.0


class LocalRuntime(Runtime):
    """Each adapter runs under a shell in a session of its own, so it outlives the server.

    A handle names a process by its id, its start and the host's boot; whatever else has that id by now is left
    alone. What belongs to a workload is recognised by descent and by a mark in its environment.
    """

    name = "local"
    provider_key = "local"

    def __init__(
        self,
        settings: LocalSettings,
        context: PluginContext,
        *,
        table: ProcessTable | None = None,
        pidfd: bool = True,
    ) -> None:
        self.limits = limits(settings)
        self.allow_remote_commands = settings.allow_remote_commands
        self.jobs_dir = JobsDir(jobs_dir(settings, context))
        self._cwd = str(directory("local.cwd", settings.cwd)) if settings.cwd else ""
        self._table = table or process_table()
        self._census = Census(self._table)
        self._followers = Followers(self._table, pidfd=pidfd)
        self._stopper = Stopper(self._table, self._census, self._followers.until_ended)
        self._boot_id = boot_id()
        self._sidecar = local_sidecar(context)
        if self._sidecar is not None:
            self.sidecar = SidecarUrls(self._sidecar.base_url, context.callback_url)
        self._starter = Starter(
            self.jobs_dir, self._table, self._census, self._boot_id, context.secrets, self._sidecar
        )
        self._launches: dict[str, asyncio.Task[LocalHandle]] = {}
        self._launching = asyncio.Semaphore(LAUNCHES_AT_ONCE)

    async def check(self) -> None:
        if os.name == "nt":
            raise StartupError(
                "The local runtime does not support Windows yet. Run the server under WSL, or select another "
                "runtime with plugins.runtime."
            )
        if find_shell() is None:
            raise StartupError(
                "The local runtime needs a POSIX shell and there is no 'sh' on PATH nor /bin/sh. Install one."
            )
        await asyncio.to_thread(self._check_directories)

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        if self._sidecar is not None:
            self._sidecar.check(request.model)

    async def launch(self, run: BenchmarkRun) -> Handle:
        command = command_of(run, self._cwd)
        attempt = self._attempt(run)
        launch = self._launches.get(attempt.mark)
        if launch is None:
            launch = asyncio.create_task(self._launch(run, command, attempt), name=f"launch-{attempt.mark}")
            self._launches[attempt.mark] = launch
            launch.add_done_callback(lambda task: self._launched(attempt.mark, task))
        # Shielded: half a launch cannot be taken back, and who asks again gets its result.
        return (await asyncio.shield(launch)).plain()

    async def find(self, run: BenchmarkRun) -> Handle | None:
        attempt = self._attempt(run)
        launch = self._launches.get(attempt.mark)
        if launch is not None:
            with suppress(LaunchError):
                return (await asyncio.shield(launch)).plain()
        found = await self._starter.recover(attempt)
        return found.plain() if found else None

    async def wait(self, handle: Handle) -> Exit:
        facts = _parse(handle)
        if facts is None:
            return Exit(lost=True, message="its handle is of an unknown form, perhaps of a newer server")
        return await self._followers.exit_of(attempt_of(facts), self._leader(facts))

    async def stop(self, handle: Handle, grace_s: float) -> None:
        facts = _parse(handle)
        if facts is None or facts.boot_id != self._boot_id:
            return
        attempt = attempt_of(facts)
        # Before anything ends, so that the leader is reaped and its status noted by one owner.
        self._followers.follow(attempt, facts.leader)
        refused = await self._stopper.stop(facts.leader, attempt.carries, grace_s)
        if facts.leader not in refused:
            await self._followers.settled(facts.leader)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        facts = _parse(handle)
        if facts is not None:
            async for block in tail(attempt_of(facts).log, options.tail_lines):
                yield block

    async def remove(self, job_id: str, tenant: str) -> None:
        where = str(self.jobs_dir.job(job_id))
        try:
            removed = await asyncio.to_thread(self.jobs_dir.remove, job_id)
        except OSError as error:
            # Such as files that an adapter's container wrote as root. Asking again would not help.
            log.error(
                "failed to remove local runtime job directory",
                job_id=job_id,
                directory=where,
                error=str(error),
            )
            return
        if removed:
            log.info("removed local runtime job directory", job_id=job_id, directory=where)

    async def close(self) -> None:
        await asyncio.gather(*self._launches.values(), return_exceptions=True)
        await self._followers.close()

    def _check_directories(self) -> None:
        if self._cwd and not Path(self._cwd).is_dir():
            raise SettingsError(f"local.cwd: {self._cwd} is not a directory; create it or name another one")
        self.jobs_dir.ensure()

    def _attempt(self, run: BenchmarkRun) -> Attempt:
        return Attempt(directory=self.jobs_dir.benchmark(run.spec), number=run.attempt)

    def _leader(self, facts: LocalHandle) -> Identity:
        return facts.leader if facts.boot_id == self._boot_id else NOBODY

    def _launched(self, mark: str, task: asyncio.Task[LocalHandle]) -> None:
        del self._launches[mark]
        if not task.cancelled():
            task.exception()  # seen, even if everybody who asked was cancelled

    async def _launch(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle:
        try:
            async with self._launching:
                if await asyncio.to_thread(os.path.lexists, attempt.directory):
                    found = await self._starter.recover(attempt)
                    if found is not None:
                        return found
                    await self._stopper.stop(NOBODY, attempt.any_carries, EARLIER_ATTEMPT_GRACE_S)
                handle = await asyncio.to_thread(self._starter.start, run, command, attempt)
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
        self._followers.follow(attempt, handle.leader)
        bound = log.bind(
            job_id=run.spec.id,
            benchmark_id=run.spec.benchmark_id,
            benchmark_index=run.spec.benchmark_index,
            provider_id=run.spec.provider_id,
        )
        bound.info("local runtime job spec written", job_spec_path=handle.job_spec)
        bound.info("local runtime log file created", log_file=str(attempt.log))
        bound.info("local runtime process started", pid=handle.pid, command=command.text)
        return handle


def _parse(handle: Handle) -> LocalHandle | None:
    try:
        return msgspec.convert(handle, LocalHandle)
    except msgspec.ValidationError:
        return None
