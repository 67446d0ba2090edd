"""The process table of this host: identities, parents, environments and open files of processes."""

from __future__ import annotations

import errno
import operator
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

PF_KTHREAD = 0x00200000  # include/linux/sched.h


UNREADABLE = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM})
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""No file descriptor, process or memory left: the state is unknown, so a process must not be taken for gone."""


class Identity(NamedTuple):
    """A process, identified beyond reuse of its id: the id together with its start time.

    ``started`` has the unit of the process table (clock ticks since boot on Linux, seconds since the epoch
    elsewhere) and is only compared.
    """

    pid: int
    started: float


NO_PROCESS = Identity(0, 0)
"""Stands for a process that has exited already or was never recorded."""


class Process(NamedTuple):
    """One row of the process table. ``zombie``: it has exited and waits to be reaped."""

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
    """Access to the processes of a platform. A process that cannot be read (gone, another user's) is left out.

    Every method raises :class:`OSError` when the state cannot be read now; see :data:`SHORTAGES`.
    """

    def all(self) -> list[Process]: ...

    def find(self, pid: int) -> Process | None: ...

    def age_s(self, process: Process) -> float | None:
        """For how many seconds a process has run; None if only the host's clock could tell."""
        ...

    def now(self) -> float:
        """The start time of a process that starts now, or a little less."""
        ...

    def descendants(self, pid: int) -> list[Process]:
        """Return the descendants of a process, parents first."""
        ...

    def environ(self, pid: int) -> bytes:
        """Return ``NAME=value`` entries, each followed by NUL; empty if they cannot be read."""
        ...

    def writes_to(self, pid: int, files: frozenset[tuple[int, int]]) -> tuple[int, int] | None:
        """Return the one of ``files`` (device and inode) that the process has open for writing, if any."""
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

    def age_s(self, process: Process) -> float | None:
        return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started / os.sysconf("SC_CLK_TCK")

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") // 1

    def descendants(self, pid: int) -> list[Process]:
        found: list[Process] = []
        parents = [pid]
        while parents:
            children = child_pids(parents.pop(0))
            found += (process for process in map(self.find, children) if process is not None)
            parents += children
        return found

    def environ(self, pid: int) -> bytes:
        return _read(f"/proc/{pid}/environ")

    def writes_to(self, pid: int, files: frozenset[tuple[int, int]]) -> tuple[int, int] | None:
        directory = f"/proc/{pid}/fd"
        try:
            descriptors = os.listdir(directory)  # noqa: PTH208
        except OSError as error:
            if error.errno in UNREADABLE:
                return None
            raise
        for descriptor in descriptors:
            try:
                found = Path(directory, descriptor).stat()
            except OSError:
                continue
            file = found.st_dev, found.st_ino
            if file in files and _is_writable(pid, descriptor):
                return file
        return None


class PsutilProcesses:
    """For hosts without /proc, such as macOS."""

    def age_s(self, process: Process) -> float | None:
        return None

    def now(self) -> float:
        return time.time() // 1

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

    def descendants(self, pid: int) -> list[Process]:
        import psutil  # here, because it is slow to import

        try:
            children = psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = (self.find(process.pid) for process in children)
        return [process for process in found if process is not None]

    def writes_to(self, pid: int, files: frozenset[tuple[int, int]]) -> tuple[int, int] | None:
        return None


def process_table() -> ProcessTable:
    return LinuxProcesses() if sys.platform == "linux" else PsutilProcesses()


def find_same(table: ProcessTable, process: Identity) -> Process | None:
    """The row of a process; None if it is gone, even if its id is used again. Raises :class:`OSError` as the table does."""
    found = table.find(process.pid)
    return found if found is not None and found.identity == process else None


def lists_children() -> bool:
    """Does the kernel list the children of processes (CONFIG_PROC_CHILDREN)?"""
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def child_pids(pid: int) -> set[int]:
    """Return the children of a process. Raises :class:`OSError` if they cannot be read now; see :data:`SHORTAGES`."""
    children: set[int] = set()
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except OSError as error:
        if error.errno in UNREADABLE:
            return children
        raise
    for thread in threads:
        children.update(map(int, _read(f"/proc/{pid}/task/{thread}/children").split()))
    return children


def adopted_pids() -> set[int]:
    """Return the children of this process's first thread, to which the kernel gives adopted orphans."""
    pid = os.getpid()
    return set(map(int, _read(f"/proc/{pid}/task/{pid}/children").split()))


def reap(pid: int) -> bool:
    """Reap a child that has exited; returns whether no child with this id is left."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def boot_id() -> str:
    """Return an id that changes with every boot of the host, or start of the container; see :func:`same_boot`.

    Empty where start times are absolute anyway.
    """
    if sys.platform != "linux":
        return ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        init = LinuxProcesses().find(1)  # a container has an init of its own
        return f"{boot} {init.started:.0f}" if init is not None else boot
    return ""


def same_boot(one: str, other: str) -> bool:
    """Whether two ids mean the same boot. The start of process 1 is only compared if both have it."""
    return all(map(operator.eq, one.split(), other.split())) and bool(one) == bool(other)


def _read(path: str) -> bytes:
    """Read a whole file below /proc (its size is unknown); empty if it is gone or another user's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_all(fd)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in UNREADABLE:
            return b""
        raise


def read_all(fd: int) -> bytes:
    """Read the rest of a file. The size of those below /proc is unknown, and one read of a list returns a page at most."""
    data = chunk = os.read(fd, 1 << 16)
    while chunk:
        chunk = os.read(fd, 1 << 16)
        data += chunk
    return data


def _is_writable(pid: int, descriptor: str) -> bool:
    info = _read(f"/proc/{pid}/fdinfo/{descriptor}")
    flags = info.partition(b"flags:")[2].split(maxsplit=1)[:1]
    return bool(flags) and int(flags[0], 8) & os.O_ACCMODE != os.O_RDONLY
