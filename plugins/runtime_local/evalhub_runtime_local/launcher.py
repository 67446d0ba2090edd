"""Launcher: writes the files of an attempt and has the shim start it, or finds one that was already started."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import structlog
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from evalhub_runtime_local import cgroup
from evalhub_runtime_local.attempt_files import Attempt, Framework, LocalHandle
from evalhub_runtime_local.command import Command, adapter_environment, inherited_environment, plain_words
from evalhub_runtime_local.exit_watcher import ExitWatcher
from evalhub_runtime_local.log_limit import LogLimit
from evalhub_runtime_local.paths import JobsDir, create_own
from evalhub_runtime_local.process_table import NO_PROCESS, Identity, Process, ProcessTable
from evalhub_runtime_local.process_tree import MARKER, Snapshot
from evalhub_runtime_local.shim import Launch, Shim, ShimLost
from evalhub_runtime_local.sidecar import LocalSidecar
from evalhub_runtime_local.subreaper import Subreaper
from evalhub_runtime_local.test_data import prepare_fetch
from evalhub_runtime_local.workload import Workload, Workloads
from evalhub_server.plugins import ApiError, BenchmarkRun, JobSpec, LaunchError, UnsafePath

log = structlog.get_logger()

# Only where something precedes the command: $1 cgroup.procs of the group to enter or "", $2 the shell, $3 a script that
# fetches test data or "", $4 the command. It uses built-ins only, because a provider may set any PATH.
PROLOGUE = """\
if [ -n "$1" ]; then echo $$ > "$1" || exit 71; fi
if [ -n "$3" ]; then "$2" "$3" || exit; fi
exec "$2" -c "$4"
"""
NOT_EXECUTABLE = (errno.ENOENT, errno.ENOEXEC, errno.EACCES)
"""A shell finds more to be executable, such as a script without ``#!``, and says in the log why it cannot start a command."""


class Prepared(NamedTuple):
    """An attempt whose files are written. ``first``: its directories are new, and removed if it cannot be started."""

    attempt: Attempt
    launch: Launch
    shell_launch: Launch
    """The same, with a shell for a command that does not need one."""
    log_fd: int
    group: Path | None
    framework: Framework | UnsetType
    first: bool


def copies_files(run: BenchmarkRun, command: Command) -> bool:
    """Whether the launch may copy or remove many files, so that it needs a thread: an ordinary one takes less than a millisecond."""
    return (
        run.attempt > 1
        or run.previous_samples is not None
        or run.test_data is not None
        or command.environment is not None
    )


def find_shell() -> str | None:
    """Return the path of the POSIX shell: from PATH, else /bin/sh; None if there is none."""
    return shutil.which("sh") or shutil.which("/bin/sh")


class Launcher:
    """Starts attempts. The caller serialises starts of the same attempt."""

    def __init__(
        self,
        jobs_dir: JobsDir,
        table: ProcessTable,
        workloads: Workloads,
        subreaper: Subreaper,
        watcher: ExitWatcher,
        shim: Shim,
        boot_id: str,
        secrets: frozenset[str],
        sidecar: LocalSidecar | None,
        log_limit: LogLimit,
    ) -> None:
        self._jobs_dir = jobs_dir
        self._table = table
        self._workloads = workloads
        self._subreaper = subreaper
        self._watcher = watcher
        self._shim = shim
        self._boot_id = boot_id
        self._secrets = secrets
        self._sidecar = sidecar
        self._log_limit = log_limit
        self._shell: str | None = None
        self.cgroup: Path | None = None
        """The delegated cgroup in which each attempt gets a group, if there is one."""

    def create_directories(self, attempt: Attempt) -> bool:
        """Create the directories of an attempt; returns whether it is the first launch in its benchmark's directory.

        Raises :class:`StartupError`, :class:`OSError`, or :class:`LaunchError` if one is another user's: its files name
        processes and commands.
        """
        self._jobs_dir.ensure()
        try:
            first = self._jobs_dir.create(attempt.directory)
            create_own(attempt.meta)
            create_own(attempt.artifacts)
        except UnsafePath as error:
            raise LaunchError(f"The job directory cannot be used: {error}") from error
        return first

    def prepare(self, run: BenchmarkRun, command: Command, attempt: Attempt, *, first: bool) -> Prepared:
        """Write the files of an attempt; blocks for less than a millisecond, unless it copies files.

        The directories exist; if this is the ``first`` launch in them, they are removed after an error. Raises
        :class:`LaunchError`, :class:`StartupError`, :class:`OSError` or :class:`ValueError`.
        """
        if self._shell is None or not os.access(self._shell, os.X_OK):
            self._shell = find_shell()
        if self._shell is None:
            raise LaunchError(
                "There is no POSIX shell 'sh' on PATH nor /bin/sh. Install one and submit the job again."
            )
        try:
            previous = _previous_samples(run, attempt)
            attempt.write_job_spec(self._adapter_spec(run.spec, attempt, previous))
            fetch_script = prepare_fetch(run.test_data, attempt)
            environment = adapter_environment(run, command, attempt, self._inherited, previous)
            group = None if self.cgroup is None else cgroup.create(self.cgroup, attempt.marker)
            environment[MARKER] = attempt.marker
            words = None
            if group is None and not fetch_script:
                words = plain_words(command.text, environment.get("PATH", ""))
                arguments = ("sh", "-c", command.text)
            else:
                procs = "" if group is None else str(group / "cgroup.procs")
                arguments = ("sh", "-c", PROLOGUE, "evalhub", procs, self._shell, fetch_script, command.text)
            cwd = attempt.directory if command.job_cwd else command.cwd
            shell_launch = Launch(self._shell, arguments, environment, cwd, attempt.log, attempt.pid_file)
            launch = shell_launch
            if words is not None:
                launch = shell_launch._replace(program=words[0], arguments=words[1])
            return Prepared(
                attempt, launch, shell_launch, attempt.open_log(), group, _framework(command), first
            )
        except BaseException:
            if first:
                shutil.rmtree(attempt.directory, ignore_errors=True)
            raise

    async def start(self, prepared: Prepared) -> LocalHandle:
        """Start the command of an attempt and watch it. Raises :class:`OSError` or :class:`ValueError`; then nothing runs.

        Raises :class:`ShimLost` if that is not known, and :class:`FileExistsError` if the attempt was started before.
        """
        attempt = prepared.attempt
        try:
            with self._workloads.starting(attempt, self._table.now()):
                pid = await self._start(prepared)
                leader = await self._identify(attempt, pid)
                self._workloads.add(attempt, leader, contained=self._subreaper.active, cgroup=prepared.group)
        except BaseException as error:
            os.close(prepared.log_fd)
            if prepared.first and not isinstance(error, (ShimLost, FileExistsError, asyncio.CancelledError)):
                shutil.rmtree(attempt.directory, ignore_errors=True)
            raise
        self._watcher.watch(attempt, leader, self._shim.exit_of(pid))
        self._log_limit.take(attempt.marker, prepared.log_fd)
        handle = replace(self._handle(attempt, leader, prepared.group), framework=prepared.framework)
        with suppress(OSError):
            # An optimisation: without this file, recovery after a crash scans all processes.
            attempt.write_handle(handle)
        return handle

    async def _start(self, prepared: Prepared) -> int:
        try:
            return await self._shim.start(prepared.launch)
        except OSError as error:
            if prepared.launch is prepared.shell_launch or error.errno not in NOT_EXECUTABLE:
                raise
        return await self._shim.start(prepared.shell_launch)

    @cached_property
    def _inherited(self) -> dict[str, str]:
        return inherited_environment(self._secrets)

    def _adapter_spec(self, spec: JobSpec, attempt: Attempt, previous: str | None) -> JobSpec:
        spec = replace(
            spec,
            samples_path=attempt.samples,
            artifacts_path=attempt.artifacts,
            previous_samples_path=UNSET if previous is None else previous,
        )
        if self._sidecar is None:
            return spec
        try:
            path = self._sidecar.write_job_info(self._jobs_dir.job(spec.id), spec.model)
        except ApiError as error:  # the job was accepted before the sidecar was configured
            raise LaunchError(error.message) from error
        log.info("sidecar job info written", job_id=spec.id, path=str(path))
        return self._sidecar.rewrite(spec)

    async def _identify(self, attempt: Attempt, pid: int) -> Identity:
        """Return the identity of a process that the shim does not reap yet, so that its id is not reused."""
        try:
            process = self._table.find(pid)
        except OSError:
            # Without its start time the process could not be identified later.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            exited = self._shim.exit_of(pid)
            if exited is not None:
                await exited
            self._shim.reap(pid)
            with suppress(OSError):  # so that it is launched again
                os.unlink(attempt.pid_file)  # noqa: PTH108
            raise
        return process.identity if process else Identity(pid, 0)

    async def recover(self, attempt: Attempt) -> LocalHandle | None:
        """Return the handle of an earlier launch of this attempt, also if the server died before storing it."""
        try:
            await asyncio.to_thread(self._jobs_dir.check_owner, attempt.meta)
        except UnsafePath:
            return None  # nothing in it was launched by this user
        handle = await asyncio.to_thread(attempt.read_handle)
        if handle is not None:
            return handle
        if not await asyncio.to_thread(os.path.isdir, attempt.meta):
            return None
        # In this order: the shim has written the pid file of a leader that exited before the scan.
        marked = await asyncio.to_thread(self._marked, attempt)
        recorded_pid = await asyncio.to_thread(attempt.read_pid)
        leaders = [
            process
            for process in marked
            if process.pid == process.sid and recorded_pid in (None, 0, process.pid)
        ]
        if leaders:
            leader = min(leaders, key=lambda process: process.started)
            return self._handle(attempt, leader.identity, self._existing_group(attempt))
        return None if recorded_pid is None else self._handle(attempt, Identity(recorded_pid, 0))

    def _existing_group(self, attempt: Attempt) -> Path | None:
        group = cgroup.path(self.cgroup, attempt.marker) if self.cgroup is not None else None
        return group if group is not None and group.is_dir() else None

    def _marked(self, attempt: Attempt) -> list[Process]:
        workload = Workload(NO_PROCESS, attempt.owns)
        return Snapshot(self._table, self._table.all(), [workload]).marked(attempt.owns)

    def _handle(self, attempt: Attempt, leader: Identity, group: Path | None = None) -> LocalHandle:
        return LocalHandle(
            dir=attempt.directory,
            attempt=attempt.number,
            job_spec=attempt.job_spec,
            pid=leader.pid,
            started=leader.started,
            boot_id=self._boot_id,
            cgroup="" if group is None else str(group),
        )


def _framework(command: Command) -> Framework | UnsetType:
    """The framework whose managed environment a command runs in."""
    environment = command.environment
    if environment is None or not environment.framework:
        return UNSET
    return Framework(name=environment.framework, version=environment.version)


def _previous_samples(run: BenchmarkRun, attempt: Attempt) -> str | None:
    """The samples of earlier runs for the adapter. Without them it evaluates everything, so an error is only logged."""
    try:
        return attempt.write_previous_samples(run.previous_samples)
    except OSError as error:
        log.warning("Samples of earlier runs not handed over", job_id=run.spec.id, error=str(error))
        return None
