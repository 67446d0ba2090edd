"""The processes of this host: who they are, what their environment is, and when a process id means another one."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

# include/linux/sched.h
PF_KTHREAD = 0x00200000


UNREADABLE = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM})
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""No file descriptor or no memory left: nothing is known then, and a process is not to be taken for gone."""


class Identity(NamedTuple):
    """A process for certain. Ids are used again; an id together with its start is not.

    ``started`` is in whatever unit the table counts (clock ticks since boot on Linux, seconds since the epoch
    elsewhere) and only compared. ``Identity(0, 0)`` is no process.
    """

    pid: int
    started: float


NOBODY = Identity(0, 0)


class Process(NamedTuple):
    """``zombie``: it has ended and only waits to be reaped."""

    pid: int
    started: float
    ppid: int
    pgid: int
    sid: int
    zombie: bool = False
    kernel: bool = False

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.started)


class ProcessTable(Protocol):
    """How a platform tells about processes. What cannot be read (gone, another user's) is left out.

    All raise :class:`OSError` if they cannot tell just now; see :data:`SHORTAGES`.
    """

    def all(self) -> list[Process]: ...

    def find(self, pid: int) -> Process | None: ...

    def environ(self, pid: int) -> bytes:
        """``NAME=value`` entries, each followed by NUL; empty if it cannot be read."""
        ...


class LinuxProcesses:
    """Reads /proc directly: with hundreds of processes psutil takes several times as long."""

    def all(self) -> list[Process]:
        found = (self.find(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208
        return [process for process in found if process is not None]

    def find(self, pid: int) -> Process | None:
        stat = _read(f"/proc/{pid}/stat")
        # The second field is the program's name in parentheses and may contain anything.
        fields = stat[stat.rfind(b")") + 1 :].split()
        if len(fields) < 20:
            return None
        state, ppid, pgid, sid = fields[0], int(fields[1]), int(fields[2]), int(fields[3])
        return Process(
            pid=pid,
            started=float(fields[19]),
            ppid=ppid,
            pgid=pgid,
            sid=sid,
            zombie=state in (b"Z", b"X", b"x"),
            kernel=bool(int(fields[6]) & PF_KTHREAD),
        )

    def environ(self, pid: int) -> bytes:
        return _read(f"/proc/{pid}/environ")


class PsutilProcesses:
    """For hosts without /proc, such as macOS."""

    def all(self) -> list[Process]:
        import psutil  # here, because it is slow to import

        found = (self.find(pid) for pid in psutil.pids())
        return [process for process in found if process is not None]

    def find(self, pid: int) -> Process | None:
        import psutil  # here, because it is slow to import

        try:
            process = psutil.Process(pid)
            with process.oneshot():
                return Process(
                    pid=pid,
                    started=process.create_time(),
                    ppid=process.ppid(),
                    pgid=os.getpgid(pid),
                    sid=os.getsid(pid),
                    zombie=process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD),
                )
        except (psutil.Error, ProcessLookupError, PermissionError):
            return None

    def environ(self, pid: int) -> bytes:
        import psutil  # here, because it is slow to import

        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            entries = psutil.Process(pid).environ().items()
            return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in entries)
        return b""


def process_table() -> ProcessTable:
    return LinuxProcesses() if sys.platform == "linux" else PsutilProcesses()


def boot_id() -> str:
    """Changes with every start of the host. Empty where no such id is known: there, starts are absolute times."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _read(path: str) -> bytes:
    """The whole of a file below /proc, whose size is not known beforehand; empty if it is gone or another user's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = chunk = os.read(fd, 1 << 16)
            while len(chunk) == 1 << 16:
                chunk = os.read(fd, 1 << 16)
                data += chunk
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in UNREADABLE:
            return b""
        raise
    return data
