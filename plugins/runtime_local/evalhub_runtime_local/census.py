"""Who belongs to a workload."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

from evalhub_runtime_local.proctable import Identity, Process, ProcessTable

ENVIRON_TRIES = 3
ENVIRON_PAUSE_S = 0.001

Belongs = Callable[[bytes], bool]
"""Says from a process's environment whether it carries the mark of a workload."""


class Snapshot:
    """All processes at one moment. Blocks while it is made and asked: use it in a thread."""

    def __init__(self, table: ProcessTable) -> None:
        self._table = table
        self._environs: dict[int, bytes] = {}
        self._processes = {process.pid: process for process in table.all()}
        self._off_limits = self._own_kind()

    def carriers(self, belongs: Belongs, since: float = 0) -> list[Process]:
        """The living whose environment carries the mark and that started at ``since`` or later."""
        return [
            process
            for process in self._processes.values()
            if process.started >= since
            and not process.zombie
            and not process.kernel
            and process.pid not in self._off_limits
            and belongs(self._environ(process.pid))
        ]

    def members(self, leader: Identity, belongs: Belongs) -> list[Process]:
        """Everybody of a workload, the leader included, also those that left its group or lost their parents.

        That is: the leader itself, all that carry the mark, all descendants of these, and the leader's session
        as far as it is proven to be still the leader's. Never this process, its ancestors or its session.
        """
        # Nothing of a workload is older than its leader; that saves reading most environments.
        found = {process.pid: process for process in self.carriers(belongs, leader.started)}
        head = self._processes.get(leader.pid)
        if head is not None and head.identity == leader and head.pid not in self._off_limits:
            found[head.pid] = head
        size = -1
        while size != len(found):
            size = len(found)
            # A session's id is not used again while a member lives. One member proves that it is the same session.
            same_session = leader.pid > 0 and any(process.sid == leader.pid for process in found.values())
            for process in self._processes.values():
                belongs_here = process.ppid in found or (same_session and process.sid == leader.pid)
                if belongs_here and process.pid not in self._off_limits:
                    found[process.pid] = process
        return list(found.values())

    def _environ(self, pid: int) -> bytes:
        environ = self._environs.get(pid)
        if environ is None:
            environ = self._table.environ(pid)
            for _ in range(ENVIRON_TRIES):
                if environ or self._gone(pid):
                    break
                # Empty for a moment while a process executes another program.
                time.sleep(ENVIRON_PAUSE_S)
                environ = self._table.environ(pid)
            self._environs[pid] = environ
        return environ

    def _gone(self, pid: int) -> bool:
        found = self._table.find(pid)
        return found is None or found.zombie

    def _own_kind(self) -> set[int]:
        """The server may itself run in somebody's workload and carry its mark; it must not stop itself."""
        ancestry: set[int] = set()
        pid = os.getpid()
        while pid > 0 and pid not in ancestry:
            ancestry.add(pid)
            process = self._processes.get(pid)
            pid = process.ppid if process is not None else 0
        session = os.getsid(0)
        session_mates = {process.pid for process in self._processes.values() if process.sid == session}
        return {0, 1} | ancestry | session_mates


class Census:
    """Takes snapshots off the event loop; callers at the same time share one."""

    def __init__(self, table: ProcessTable) -> None:
        self._table = table
        self._current: asyncio.Task[Snapshot] | None = None
        self._next: asyncio.Task[Snapshot] | None = None

    async def take(self) -> Snapshot:
        """A snapshot that was begun after this call. Cancel-safe."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._current), name="process-census")
        return await asyncio.shield(self._next)

    async def _after(self, current: asyncio.Task[Snapshot] | None) -> Snapshot:
        if current is not None:
            await asyncio.wait([current])
        self._current, self._next = self._next, None
        return await asyncio.to_thread(Snapshot, self._table)
