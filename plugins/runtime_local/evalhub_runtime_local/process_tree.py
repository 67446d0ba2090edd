"""The process tree of a workload: the processes of this host, and which of them belong to an attempt."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from evalhub_runtime_local.workload import Workload

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

    def descendants(self) -> list[Process]:
        """Return the descendants of this process, parents first."""
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

    def descendants(self) -> list[Process]:
        found: list[Process] = []
        parents = [os.getpid()]
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

    def descendants(self) -> list[Process]:
        import psutil  # here, because it is slow to import

        found = (self.find(process.pid) for process in psutil.Process().children(recursive=True))
        return [process for process in found if process is not None]

    def writes_to(self, pid: int, files: frozenset[tuple[int, int]]) -> tuple[int, int] | None:
        return None


def process_table() -> ProcessTable:
    return LinuxProcesses() if sys.platform == "linux" else PsutilProcesses()


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


def _is_writable(pid: int, descriptor: str) -> bool:
    info = _read(f"/proc/{pid}/fdinfo/{descriptor}")
    flags = info.partition(b"flags:")[2].split(maxsplit=1)[:1]
    return bool(flags) and int(flags[0], 8) & os.O_ACCMODE != os.O_RDONLY


ENVIRON_TRIES = 3
ENVIRON_PAUSE_S = 0.001

MARKER = "EVALHUB_LOCAL_RUN"
"""Set last in an adapter's environment and inherited by what it starts: ``<directory>#<attempt>``."""

SERVER_MARKER = "EVALHUB_SERVER_PROCESS"
"""Set in the server's own environment, and so in its helper programs, but not in that of adapters."""

_ATTEMPT_MARKER = MARKER.encode() + b"="
_SERVER_MARKER = SERVER_MARKER.encode() + b"="


class Snapshot:
    """Processes at one moment, each with the workload that owns it. The construction blocks: use it in a thread.

    A process belongs to a workload if one of these holds, the first that does: it was identified before; its parent
    belongs to it; it is in the leader's session; it carries the marker in its environment; it can write to the log. With
    ``contained``, ``processes`` are the descendants of this process: then an orphan that shows none of this belongs to
    the only workload that ran when it started. If several did, it belongs to none until all but one are over.

    Never this process, its ancestors, its session, or programs that the server started for itself.
    """

    def __init__(
        self,
        table: ProcessTable,
        processes: Iterable[Process],
        workloads: Sequence[Workload],
        *,
        contained: bool = False,
    ) -> None:
        self._table = table
        self._workloads = workloads
        self._environs: dict[int, bytes] = {}
        self._processes = {process.pid: process for process in processes}
        self._owners: dict[int, Workload] = {}
        protected = self._protected_pids()
        self._free = [
            process
            for process in sorted(self._processes.values(), key=lambda process: process.started)
            if process.pid not in protected and not process.kernel
        ]
        self._follow_known()
        self._spread()
        for evidence in (self._by_environment, self._by_log, self._by_elimination):
            if evidence == self._by_elimination and not contained:
                continue
            for process in self._free:
                if process.pid not in self._owners and not process.zombie:
                    owner = evidence(process)
                    if owner is not None:
                        self._owners[process.pid] = owner
                        self._spread()

    def members(self, workload: Workload) -> list[Process]:
        """Return the processes of a workload, zombies included."""
        return [process for process in self._free if self._owners.get(process.pid) is workload]

    def marked(self, owns: Callable[[bytes], bool]) -> list[Process]:
        """Return the live processes whose environment carries a marker."""
        return [process for process in self._free if not process.zombie and owns(self._environ(process.pid))]

    def _follow_known(self) -> None:
        known = {
            process.identity: workload for workload in self._workloads for process in workload.members
        } | {workload.leader: workload for workload in self._workloads}
        for process in self._free:
            owner = known.get(process.identity)
            if owner is not None:
                self._owners[process.pid] = owner

    def _spread(self) -> None:
        """Give descendants and sessions of owned processes to the same owner, until nothing changes."""
        count = -1
        while count != len(self._owners):
            count = len(self._owners)
            # A session id is not reused while a member lives: one owned member proves that it is the same session.
            sessions = {
                process.sid: owner
                for process in self._free
                if (owner := self._owners.get(process.pid)) is not None and process.sid == owner.leader.pid
            }
            for process in self._free:
                if process.pid not in self._owners:
                    owner = self._owners.get(process.ppid) or sessions.get(process.sid)
                    if owner is not None:
                        self._owners[process.pid] = owner

    def _candidates(self, process: Process) -> list[Workload]:
        """Return the workloads that ran when the process started: no process is older than its leader."""
        return [workload for workload in self._workloads if workload.leader.started <= process.started]

    def _by_environment(self, process: Process) -> Workload | None:
        candidates = self._candidates(process)
        environ = self._environ(process.pid) if candidates else b""
        return next((workload for workload in candidates if workload.owns(environ)), None)

    def _by_log(self, process: Process) -> Workload | None:
        logs = {log: workload for workload in self._candidates(process) if (log := workload.log_id())}
        file = self._table.writes_to(process.pid, frozenset(logs)) if logs else None
        return logs[file] if file is not None else None

    def _by_elimination(self, process: Process) -> Workload | None:
        candidates = self._candidates(process) if process.ppid == os.getpid() else []
        if len(candidates) != 1 or any(
            marker in self._environ(process.pid) for marker in (_SERVER_MARKER, _ATTEMPT_MARKER)
        ):
            return None
        return candidates[0]

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

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take
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
        return await asyncio.to_thread(self._take)
