"""The process tree of a workload: the processes of this host, and which of them belong to an attempt."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

PF_KTHREAD = 0x00200000  # include/linux/sched.h


UNREADABLE = frozenset({errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM})
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""No file descriptor or no memory left: the state is unknown, so a process must not be taken for gone."""


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

    def environ(self, pid: int) -> bytes:
        """Return ``NAME=value`` entries, each followed by NUL; empty if they cannot be read."""
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
    """Return an id that changes with every boot of the host; empty where start times are absolute anyway."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""


def _read(path: str) -> bytes:
    """Read a whole file below /proc (its size is unknown); empty if it is gone or another user's."""
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


ENVIRON_TRIES = 3
ENVIRON_PAUSE_S = 0.001

Ownership = Callable[[bytes], bool]
"""Predicate on a process's environment: does it carry the marker of a workload?"""


class Snapshot:
    """All processes at one moment. Construction and methods block: use it in a thread."""

    def __init__(self, table: ProcessTable) -> None:
        self._table = table
        self._environs: dict[int, bytes] = {}
        self._processes = {process.pid: process for process in table.all()}
        self._protected = self._protected_pids()

    def marked(self, owned: Ownership, since: float = 0) -> list[Process]:
        """Return the live processes whose environment carries the marker and that started at ``since`` or later."""
        return [
            process
            for process in self._processes.values()
            if process.started >= since
            and not process.zombie
            and not process.kernel
            and process.pid not in self._protected
            and owned(self._environ(process.pid))
        ]

    def members(self, leader: Identity, owned: Ownership) -> list[Process]:
        """Return every process of a workload, also those that left its process group or lost their parents.

        These are the leader, all processes that carry the marker, all descendants of these, and the leader's session
        if it is proven to be still the leader's. Never this process, its ancestors or its session.
        """
        # No process of a workload is older than its leader; that saves reading most environments.
        found = {process.pid: process for process in self.marked(owned, leader.started)}
        head = self._processes.get(leader.pid)
        if head is not None and head.identity == leader and head.pid not in self._protected:
            found[head.pid] = head
        size = -1
        while size != len(found):
            size = len(found)
            # A session id is not reused while a member lives: one known member proves that it is the same session.
            same_session = leader.pid > 0 and any(process.sid == leader.pid for process in found.values())
            for process in self._processes.values():
                belongs_here = process.ppid in found or (same_session and process.sid == leader.pid)
                if belongs_here and process.pid not in self._protected:
                    found[process.pid] = process
        return list(found.values())

    def _environ(self, pid: int) -> bytes:
        environ = self._environs.get(pid)
        if environ is None:
            environ = self._table.environ(pid)
            for _ in range(ENVIRON_TRIES):
                if environ or self._gone(pid):
                    break
                # Empty for a moment while a process is in execve().
                time.sleep(ENVIRON_PAUSE_S)
                environ = self._table.environ(pid)
            self._environs[pid] = environ
        return environ

    def _gone(self, pid: int) -> bool:
        found = self._table.find(pid)
        return found is None or found.zombie

    def _protected_pids(self) -> set[int]:
        """Pids of this server: it may itself run in a workload and carry its marker, and must not stop itself."""
        ancestry: set[int] = set()
        pid = os.getpid()
        while pid > 0 and pid not in ancestry:
            ancestry.add(pid)
            process = self._processes.get(pid)
            pid = process.ppid if process is not None else 0
        session = os.getsid(0)
        session_mates = {process.pid for process in self._processes.values() if process.sid == session}
        return {0, 1} | ancestry | session_mates


class ProcessScanner:
    """Takes snapshots off the event loop; concurrent callers share one."""

    def __init__(self, table: ProcessTable) -> None:
        self._table = table
        self._current: asyncio.Task[Snapshot] | None = None
        self._next: asyncio.Task[Snapshot] | None = None

    async def scan(self) -> Snapshot:
        """Return a snapshot that was started after this call. Cancel-safe."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current), name="process-scan")
        return await asyncio.shield(self._next)

    async def _after(self, current: asyncio.Task[Snapshot] | None) -> Snapshot:
        if current is not None:
            await asyncio.wait([current])
        self._current, self._next = self._next, None
        return await asyncio.to_thread(Snapshot, self._table)
