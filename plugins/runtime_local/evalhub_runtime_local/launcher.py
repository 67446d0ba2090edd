"""Launcher: starts an attempt in a session of its own, or finds the one that was already started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Set
from contextlib import suppress
from functools import cache

import structlog

from evalhub_runtime_local.attempt_files import MARK, Attempt, LocalHandle
from evalhub_runtime_local.command import Command, adapter_environment
from evalhub_runtime_local.paths import JobsDir, make_private
from evalhub_runtime_local.process_tree import Census, Identity, ProcessTable
from evalhub_runtime_local.sidecar import LocalSidecar
from evalhub_server.errors import ApiError, LaunchError
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins import BenchmarkRun

# The leader of the workload: $1 command, $2 pid file, $3 exit file, $4 the shell, $5 directory to start in or "".
#
# It outlives the SIGTERM that goes to its whole group, so that the command's own answer to it is recorded. Its
# traps do that, while ignored signals would be ignored by the command, too. For the same reason the command runs in
# the foreground: POSIX shells start background commands with SIGINT and SIGQUIT ignored. Only built-in commands
# are used, because a provider may set any PATH. No temporary file either: one write of a few bytes that ends in
# a newline is complete when the newline is there. The shell's own remarks ("Terminated") stay out of the log.
LEADER = """\
trap : HUP INT QUIT TERM USR1 USR2 ALRM
set -C
{ echo $$ > "$2"; } 2> /dev/null || exit 70
set +C
exec 9>&2 2> /dev/null
if [ -n "$5" ]; then cd -- "$5" 2>&9; fi && (exec "$4" -c "$1") 2>&9 9>&-
status=$?
{ echo $status > "$3"; } 2> /dev/null
exit $status
"""


def find_shell() -> str | None:
    """The POSIX shell, on PATH as the released server finds it, or where POSIX systems have it."""
    return shutil.which("sh") or shutil.which("/bin/sh")


def spawn(shell: str, command: Command, attempt: Attempt, environment: Mapping[str, str]) -> int:
    """Start the leader and return its process id; it is a child of this process and has to be reaped.

    ``posix_spawn`` does not copy this process, however large it is, unlike ``fork`` and unlike asyncio's
    subprocesses under uvloop. Raises :class:`OSError` (also for a command or environment that is too long) or
    :class:`ValueError` (for one that cannot be encoded); then nothing runs.
    """
    fd = os.open(
        attempt.log,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        0o600,
    )
    try:
        os.fchmod(fd, 0o600)
        return os.posix_spawn(
            shell,
            [
                "sh",
                "-c",
                LEADER,
                "evalhub",
                command.text,
                str(attempt.pid_file),
                str(attempt.exit_file),
                shell,
                command.cwd,
            ],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, fd, 1),
                (os.POSIX_SPAWN_DUP2, fd, 2),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            ],
            setsid=True,
            setsigmask=(),
            # Somebody may have ignored some for us: nohup SIGHUP, a script's "&" SIGINT, Python SIGPIPE.
            setsigdef=_settable_signals(),
        )
    finally:
        os.close(fd)


@cache
def _settable_signals() -> Set[int]:
    return signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


log = structlog.get_logger()


class Starter:
    """Knows the files and the process of an attempt; that there is only one start at a time is the runtime's care."""

    def __init__(
        self,
        jobs_dir: JobsDir,
        table: ProcessTable,
        census: Census,
        boot_id: str,
        secrets: frozenset[str],
        sidecar: LocalSidecar | None,
    ) -> None:
        self._jobs_dir = jobs_dir
        self._table = table
        self._census = census
        self._boot_id = boot_id
        self._secrets = secrets
        self._sidecar = sidecar

    def start(self, run: BenchmarkRun, command: Command, attempt: Attempt) -> LocalHandle:
        """Write the files and start the command; blocks for a few milliseconds.

        Raises :class:`LaunchError`, :class:`StartupError`, :class:`OSError` or :class:`ValueError`; then nothing
        runs.
        """
        shell = find_shell()
        if shell is None:
            raise LaunchError(
                "There is no POSIX shell 'sh' on PATH nor /bin/sh. Install one and submit the job again."
            )
        self._jobs_dir.ensure()
        fresh = not attempt.directory.exists()
        try:
            make_private(attempt.meta)
            attempt.write_job_spec(self._told(run.spec))
            environment = adapter_environment(run, command, attempt.job_spec, self._secrets)
            pid = spawn(shell, command, attempt, {**environment, MARK: attempt.mark})
            leader = self._started(pid)
        except BaseException:
            if fresh:
                shutil.rmtree(attempt.directory, ignore_errors=True)
            raise
        handle = self._handle(attempt, leader)
        with suppress(OSError):
            # Only a shortcut: without it a crash before the core stores the handle costs a look at all processes.
            attempt.write_handle(handle)
        return handle

    def _told(self, spec: JobSpec) -> JobSpec:
        if self._sidecar is None:
            return spec
        try:
            path = self._sidecar.write_job_info(self._jobs_dir.job(spec.id), spec.model)
        except ApiError as error:  # a job that was accepted while there was no sidecar
            raise LaunchError(error.message) from error
        log.info("sidecar job info written", job_id=spec.id, path=str(path))
        return self._sidecar.behind(spec)

    def _started(self, pid: int) -> Identity:
        """Who a child is that nobody has reaped yet, so that its id is surely its own."""
        try:
            process = self._table.find(pid)
        except OSError:
            # Nobody would find it again.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        return process.identity if process else Identity(pid, 0)

    async def recover(self, attempt: Attempt) -> LocalHandle | None:
        """What an earlier launch of this attempt started, also if the server died before it noted anything."""
        handle = await asyncio.to_thread(attempt.read_handle)
        if handle is not None:
            return handle
        if not await asyncio.to_thread(attempt.meta.is_dir):
            return None
        snapshot = await self._census.take()
        # In this order: a leader that has ended by the time of the look has left its id before.
        carriers = await asyncio.to_thread(snapshot.carriers, attempt.carries)
        noted = await asyncio.to_thread(attempt.read_pid)
        leaders = [
            process for process in carriers if process.pid == process.sid and noted in (None, 0, process.pid)
        ]
        if leaders:
            leader = min(leaders, key=lambda process: process.started)
            return self._handle(attempt, leader.identity)
        return None if noted is None else self._handle(attempt, Identity(noted, 0))

    def _handle(self, attempt: Attempt, leader: Identity) -> LocalHandle:
        return LocalHandle(
            dir=str(attempt.directory),
            attempt=attempt.number,
            job_spec=str(attempt.job_spec),
            pid=leader.pid,
            started=leader.started,
            boot_id=self._boot_id,
        )
