"""Starting a command in a session of its own, its exit status kept in a file."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Set
from functools import cache

from evalhub_runtime_local.attempt import Attempt
from evalhub_runtime_local.command import Command

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
