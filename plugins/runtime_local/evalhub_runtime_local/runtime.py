"""The local runtime: runs adapters as processes of this host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

from evalhub_runtime_local.attempt_files import Attempt, LocalHandle, attempt_from, write_private
from evalhub_runtime_local.cgroup import delegated_cgroup, remove_empty
from evalhub_runtime_local.command import parse_command
from evalhub_runtime_local.environments import ListedEnvironments, readiness, secret_variables
from evalhub_runtime_local.exit_watcher import ExitWatcher
from evalhub_runtime_local.launcher import Launcher, find_shell
from evalhub_runtime_local.launches import Launches
from evalhub_runtime_local.log_limit import LogLimit
from evalhub_runtime_local.logs import read_from, start_of_tail, tail
from evalhub_runtime_local.paths import JobsDir
from evalhub_runtime_local.process_table import (
    NO_PROCESS,
    Identity,
    ProcessTable,
    boot_id,
    find_same,
    process_table,
    same_boot,
)
from evalhub_runtime_local.process_tree import SERVER_MARKER
from evalhub_runtime_local.settings import LocalSettings, directory, followed, jobs_dir, limits
from evalhub_runtime_local.shim import Shim
from evalhub_runtime_local.sidecar import local_sidecar
from evalhub_runtime_local.subreaper import Subreaper
from evalhub_runtime_local.terminate import Terminator
from evalhub_runtime_local.workload import Workload, Workloads
from evalhub_server.plugins import (
    INTERRUPTED,
    BenchmarkRun,
    Exit,
    Handle,
    JobPlan,
    JobRecord,
    JobRequest,
    Json,
    LogOptions,
    LogPart,
    PluginContext,
    Readiness,
    Runtime,
    SampleFiles,
    SettingsError,
    SidecarUrls,
    StartupError,
    make_private,
    problems,
)

log = structlog.get_logger()


class LocalRuntime(Runtime):
    """Each adapter is a child of the shim, in a session of its own, so it outlives the server.

    A handle identifies a process by id, start time and boot of the host; a later process with the same id is never
    touched. The processes of a workload are found by descent and by a marker in their environment.
    """

    name = "local"
    provider_key = "local"
    takes_test_data_paths = True
    hands_over_samples = True
    log_poll_s = 0.5

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
        self._named = bool(settings.jobs_dir)
        self._cwd = str(directory("local.cwd", settings.cwd)) if settings.cwd else ""
        self._table = table or process_table()
        self._workloads = Workloads()
        self._shim = Shim()
        self._watcher = ExitWatcher(self._table, self._shim, pidfd=pidfd)
        self._subreaper = Subreaper(self._table, self._workloads, self._shim)
        self._terminator = Terminator(self._table, self._workloads, self._subreaper, self._watcher)
        self._log_limit = LogLimit(context.log_max_bytes)
        self._boot_id = boot_id()
        self._secrets = context.secrets
        self._sidecar = local_sidecar(context)
        if self._sidecar is not None:
            self.sidecar = SidecarUrls(self._sidecar.base_url, context.callback_url)
        self._launcher = Launcher(
            self.jobs_dir,
            self._table,
            self._workloads,
            self._subreaper,
            self._watcher,
            self._shim,
            self._boot_id,
            context.secrets,
            self._sidecar,
            self._log_limit,
        )
        self._environments = ListedEnvironments()
        self._launches = Launches(self._launcher, self._terminator, self._workloads)

    @property
    def logs_dir(self) -> Path:
        return self.jobs_dir.base

    def log_files(self, job: JobRecord) -> list[Path]:
        planned = enumerate(job.plan.benchmarks)
        directories = [self.jobs_dir.directory(job.id, i, each.provider_id, each.id) for i, each in planned]
        return [Path(Attempt(directory=directory, number=1).log) for directory in directories]

    async def remove_logs(self, job: JobRecord, note: str) -> None:
        await asyncio.to_thread(self._replace_logs, job, note)

    def _replace_logs(self, job: JobRecord, note: str) -> None:
        logs = [path for path in self.log_files(job) if path.exists()]
        self.jobs_dir.remove(job.id)
        for path in logs:
            make_private(path.parent)
            write_private(str(path), note.encode() + b"\n")

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
        os.environ[SERVER_MARKER] = str(os.getpid())
        self._subreaper.open()
        self._launcher.cgroup = await asyncio.to_thread(delegated_cgroup)
        if self._launcher.cgroup is not None:
            await asyncio.to_thread(remove_empty, self._launcher.cgroup)

    def readiness(self, entry: Json | None) -> Readiness:
        return self._environments.readiness(entry)

    def readiness_state(self) -> str:
        return self._environments.state()

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        for provider_id, runtimes in plan.runtimes.items():
            entry = runtimes.get(self.provider_key)
            found = readiness(entry)
            if found.job_refused:
                raise problems.local_runtime_not_enabled(provider_id, found.reason, found.fix)
            if named := secret_variables(entry or {}, self._secrets):
                reason = f"runtime.local.env has value_from_env: {named[0]}, which is a secret of the server"
                raise problems.local_runtime_not_enabled(provider_id, reason, "Name another variable.")
        if self._sidecar is not None:
            self._sidecar.check(request.model)

    async def launch(self, run: BenchmarkRun) -> Handle:
        command = parse_command(run, self._cwd)
        attempt = self._attempt(run)
        return (await self._launches.launch(run, command, attempt)).plain()

    async def find(self, run: BenchmarkRun) -> Handle | None:
        found = await self._launches.find(self._attempt(run))
        return found.plain() if found else None

    async def wait(self, handle: Handle) -> Exit:
        parsed = _parse(handle)
        if parsed is None:
            return Exit(lost=True, message="its handle has an unknown format, perhaps of a newer server")
        attempt = attempt_from(parsed)
        self._log_limit.watch(attempt.marker, attempt.log)
        exit_ = await self._watcher.exit_of(attempt, self._leader(parsed))
        if exit_.lost and not same_boot(parsed.boot_id, self._boot_id):
            return Exit(lost=True, reason=INTERRUPTED, message="the host or the container was restarted")
        return exit_

    async def age_s(self, handle: Handle) -> float | None:
        parsed = _parse(handle)
        if parsed is None:
            return 0.0
        leader = self._leader(parsed)
        process = await asyncio.to_thread(find_same, self._table, leader) if leader.pid else None
        if process is None or process.zombie:
            return 0.0  # it has ended
        return self._table.age_s(process)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        parsed = _parse(handle)
        if parsed is None or not same_boot(parsed.boot_id, self._boot_id):
            return
        attempt = attempt_from(parsed)
        # Before any process exits, so that the status of the leader is recorded by one owner.
        self._watcher.watch(attempt, parsed.leader)
        not_signalled = await self._terminator.stop(self._workload(attempt, parsed), grace_s)
        if parsed.leader not in not_signalled:
            await self._watcher.release(attempt, parsed.leader)
        self._workloads.remove(attempt)
        self._log_limit.forget(attempt.marker)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        parsed = _parse(handle)
        if parsed is not None:
            async for block in tail(self._restored(attempt_from(parsed)).log, options.tail_lines):
                yield block

    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        parsed = _parse(handle)
        if parsed is None:
            return None
        attempt = attempt_from(parsed)
        return SampleFiles(samples=Path(attempt.samples), artifacts=Path(attempt.artifacts))

    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> LogPart:
        parsed = _parse(handle)
        if parsed is None:
            return LogPart(b"", offset)
        path = self._restored(attempt_from(parsed)).log
        return await asyncio.to_thread(read_from, path, offset, limit_bytes)

    async def log_offset(self, handle: Handle, tail_lines: int) -> int:
        parsed = _parse(handle)
        if parsed is None:
            return 0
        return await start_of_tail(self._restored(attempt_from(parsed)).log, tail_lines)

    async def remove(self, job_id: str, tenant: str) -> None:
        path = str(self.jobs_dir.job(job_id))
        try:
            removed = await asyncio.to_thread(self.jobs_dir.remove, job_id)
        except OSError as error:
            # For example files that a container of the adapter wrote as root. A retry would not help.
            log.error(
                "failed to remove local runtime job directory",
                job_id=job_id,
                directory=path,
                error=str(error),
            )
            return
        if removed:
            log.info("removed local runtime job directory", job_id=job_id, directory=path)

    async def close(self) -> None:
        await self._launches.close()
        await self._watcher.close()
        await self._log_limit.close()
        await self._shim.close()
        await self._subreaper.close()

    def _check_directories(self) -> None:
        if self._cwd and not Path(self._cwd).is_dir():
            raise SettingsError(
                f"local.cwd: {self._cwd} is not a directory; create it or set another directory"
            )
        if self._named:
            self.jobs_dir.base = followed("local.jobs_dir", self.jobs_dir.base)
        self.jobs_dir.ensure()

    def _attempt(self, run: BenchmarkRun) -> Attempt:
        return Attempt(directory=self.jobs_dir.benchmark(run.spec), number=run.attempt)

    def _restored(self, attempt: Attempt) -> Attempt:
        """The attempt of a handle with the directory of its files here, if they were restored from a backup."""
        return replace(attempt, directory=self.jobs_dir.relocated(attempt.directory))

    def _workload(self, attempt: Attempt, parsed: LocalHandle) -> Workload:
        cgroup = Path(parsed.cgroup) if parsed.cgroup else None
        return self._workloads.add(attempt, parsed.leader, contained=False, cgroup=cgroup)

    def _leader(self, parsed: LocalHandle) -> Identity:
        return parsed.leader if same_boot(parsed.boot_id, self._boot_id) else NO_PROCESS


def _parse(handle: Handle) -> LocalHandle | None:
    try:
        return msgspec.convert(handle, LocalHandle)
    except msgspec.ValidationError:
        return None
