"""Launcher: starts an attempt in a session of its own, or finds the one that was already started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Set
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

import structlog
from msgspec import UNSET
from msgspec.structs import replace

from evalhub_runtime_local import cgroup
from evalhub_runtime_local.attempt_files import Attempt, Framework, LocalHandle
from evalhub_runtime_local.command import Command, adapter_environment, inherited_environment, plain_words
from evalhub_runtime_local.log_limit import LogLimit
from evalhub_runtime_local.paths import JobsDir, create_own
from evalhub_runtime_local.process_table import NO_PROCESS, Identity, Process, ProcessTable
from evalhub_runtime_local.process_tree import MARKER, Snapshot
from evalhub_runtime_local.sidecar import LocalSidecar
from evalhub_runtime_local.subreaper import Subreaper
from evalhub_runtime_local.test_data import prepare_fetch
from evalhub_runtime_local.workload import Workload, Workloads
from evalhub_server.plugins import ApiError, BenchmarkRun, JobSpec, LaunchError, UnsafePath

log = structlog.get_logger()

# The leader of the workload: $1 command, $2 pid file, $3 the shell, $4 directory to start in or "", $5 cgroup.procs of
# the group to enter or "", $6 the umask of the command, $7 script that fetches test data or "", $8 the command as plain
# words, which need no shell of their own, or "".
#
# It survives the SIGTERM that goes to its whole process group, so that the exit status of the command is recorded.
# It traps signals instead of ignoring them, because the command would inherit ignored ones. For the same reason the
# command runs in the foreground: POSIX shells start background commands with SIGINT and SIGQUIT ignored. Only shell
# built-ins are used, because a provider may set any PATH. No temporary file is needed: a line is complete when its
# newline is there. A leader that cannot create its file exits. The shell's own messages ("Terminated") stay out of the log,
# which is its standard output, too.
LEADER = """\
trap : HUP INT QUIT TERM USR1 USR2 ALRM
exec 2> /dev/null
if [ -n "$5" ]; then echo $$ > "$5" || exit 71; fi
umask 077
set -C
exec 3> "$2" || exit 70
set +C
echo $$ >&3
umask "$6"
if [ -n "$4" ]; then cd -- "$4" 2>&1; fi &&
    if [ -n "$7" ]; then (exec "$3" "$7") 2>&1 3>&-; fi &&
    if [ -n "$8" ]; then (exec $8) 2>&1 3>&-; else (exec "$3" -c "$1") 2>&1 3>&-; fi
status=$?
echo $status >&3
exit $status
"""


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


def spawn(
    shell: str,
    command: Command,
    attempt: Attempt,
    log_fd: int,
    environment: Mapping[str, str],
    group: Path | None,
    fetch_script: str = "",
) -> int:
    """Start the leader and return its process id. It is a child of this process and must be reaped.

    ``posix_spawn`` does not copy the memory of this process, unlike ``fork`` and asyncio's subprocesses under
    uvloop. Raises :class:`OSError` (also if command or environment are too long) or :class:`ValueError` (if they
    cannot be encoded); then nothing runs.
    """
    return os.posix_spawn(
        shell,
        [
            "sh",
            "-c",
            LEADER,
            "evalhub",
            command.text,
            attempt.pid_file,
            shell,
            attempt.directory if command.job_cwd else command.cwd,
            "" if group is None else str(group / "cgroup.procs"),
            f"{current_umask():04o}",
            fetch_script,
            plain_words(command.text, environment.get("PATH", "")),
        ],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, log_fd, 1),
            (os.POSIX_SPAWN_DUP2, log_fd, 2),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        ],
        setsid=True,
        setsigmask=(),
        # This process may have inherited ignored signals: SIGHUP from nohup, SIGINT from "&" in a script.
        setsigdef=_settable_signals(),
    )


@cache
def current_umask() -> int:
    """Return the umask of this process, which does not change it."""
    with suppress(OSError, IndexError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("Umask:")[2].split()[0], 8)
    umask = os.umask(0o077)  # elsewhere it can only be read by setting it
    os.umask(umask)
    return umask


@cache
def _settable_signals() -> Set[int]:
    return signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Launcher:
    """Starts attempts. The caller serialises starts of the same attempt."""

    def __init__(
        self,
        jobs_dir: JobsDir,
        table: ProcessTable,
        workloads: Workloads,
        subreaper: Subreaper,
        boot_id: str,
        secrets: frozenset[str],
        sidecar: LocalSidecar | None,
        log_limit: LogLimit,
    ) -> None:
        self._jobs_dir = jobs_dir
        self._table = table
        self._workloads = workloads
        self._subreaper = subreaper
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

    def start(self, run: BenchmarkRun, command: Command, attempt: Attempt, *, first: bool) -> LocalHandle:
        """Write the files and start the command; blocks for less than a millisecond, unless it copies files.

        The directories exist; if this is the ``first`` launch in them, they are removed after an error. Raises :class:`LaunchError`, :class:`StartupError`, :class:`OSError` or :class:`ValueError`; then nothing
        runs.
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
            log_fd = attempt.open_log()
            try:
                with self._workloads.lock:
                    pid = spawn(self._shell, command, attempt, log_fd, environment, group, fetch_script)
                    leader = self._started(pid)
                    self._workloads.add(attempt, leader, contained=self._subreaper.active, cgroup=group)
            except BaseException:
                os.close(log_fd)
                raise
        except BaseException:
            if first:
                shutil.rmtree(attempt.directory, ignore_errors=True)
            raise
        self._log_limit.take(attempt.marker, log_fd)
        handle = self._handle(attempt, leader, group)
        if command.environment is not None and command.environment.framework:
            used = Framework(name=command.environment.framework, version=command.environment.version)
            handle = replace(handle, framework=used)
        with suppress(OSError):
            # An optimisation: without this file, recovery after a crash scans all processes.
            attempt.write_handle(handle)
        return handle

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

    def _started(self, pid: int) -> Identity:
        """Return the identity of a child that is not reaped yet, so that its id is not reused."""
        try:
            process = self._table.find(pid)
        except OSError:
            # Without its start time the process could not be identified later.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
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
        # In this order: a leader that exited before the scan has written its pid file before.
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


def _previous_samples(run: BenchmarkRun, attempt: Attempt) -> str | None:
    """The samples of earlier runs for the adapter. Without them it evaluates everything, so an error is only logged."""
    try:
        return attempt.write_previous_samples(run.previous_samples)
    except OSError as error:
        log.warning("Samples of earlier runs not handed over", job_id=run.spec.id, error=str(error))
        return None
