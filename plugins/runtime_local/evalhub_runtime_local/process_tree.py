"""The process trees of workloads: which processes belong to which workload."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from evalhub_runtime_local.process_table import Process, ProcessTable

if TYPE_CHECKING:
    from evalhub_runtime_local.workload import Workload

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
    belongs to it; it is in the leader's session; it carries the marker in its environment; it can write to the log. If
    ``processes`` are the descendants of this process, an orphan that shows none of this belongs to the only workload that
    ran when it started. If several did, it belongs to none until all but one are over. Only for orphans that started
    before ``complete_until``: the ``workloads`` have all that ran until then.

    Never this process, its ancestors, its session, or programs that the server started for itself.
    """

    def __init__(
        self,
        table: ProcessTable,
        processes: Iterable[Process],
        workloads: Sequence[Workload],
        *,
        complete_until: float = 0.0,
    ) -> None:
        self._table = table
        self._workloads = workloads
        self._complete_until = complete_until
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
        if process.ppid != os.getpid() or process.started >= self._complete_until:
            return None
        candidates = self._candidates(process)
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
