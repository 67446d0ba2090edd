"""Ending a workload with all that it started."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import structlog

from evalhub_runtime_local.exit_watcher import reap
from evalhub_runtime_local.process_tree import Belongs, Census, Identity, Process, ProcessTable

log = structlog.get_logger()

# A killed process ends at once, unless it hangs in the kernel; then it is looked for again.
KILL_WAIT_S = 2.0


class Stopper:
    """``until_ended`` returns when a process has ended; only it may reap a workload's leader."""

    def __init__(
        self, table: ProcessTable, census: Census, until_ended: Callable[[Identity], Awaitable[object]]
    ) -> None:
        self._table = table
        self._census = census
        self._until_ended = until_ended

    async def stop(self, leader: Identity, belongs: Belongs, grace_s: float) -> set[Identity]:
        """SIGTERM, up to ``grace_s`` seconds, SIGKILL; return when a look around finds nobody.

        Idempotent, also when called concurrently. Processes that may not be signalled (of another user) are left
        with a warning and returned.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace_s
        asked: set[Identity] = set()
        refused: set[Identity] = set()
        while living := await self._living(leader, belongs, refused):
            # Who appears later (a helper that cleans up, a child forked in between) is asked as well, but only once.
            new = [process for process in living if process.identity not in asked]
            refused |= await asyncio.to_thread(self._send, leader, new, signal.SIGTERM)
            asked.update(process.identity for process in new)
            left = deadline - clock()
            if left <= 0:
                break
            await self._until_all_ended(living, refused, left)
        while living := await self._living(leader, belongs, refused):
            refused |= await asyncio.to_thread(self._send, leader, living, signal.SIGKILL)
            await self._until_all_ended(living, refused, KILL_WAIT_S)
        if refused:
            log.warning("processes of another user left running", pids=sorted(pid for pid, _ in refused))
        return refused

    async def _living(self, leader: Identity, belongs: Belongs, refused: set[Identity]) -> Sequence[Process]:
        snapshot = await self._census.take()
        members = await asyncio.to_thread(snapshot.members, leader, belongs)
        for process in members:
            # Where this process adopts orphans (as the first one of a container) nobody else reaps them.
            if process.zombie and process.ppid == os.getpid() and process.identity != leader:
                reap(process.pid)
        return [process for process in members if not process.zombie and process.identity not in refused]

    async def _until_all_ended(
        self, processes: Iterable[Process], refused: set[Identity], timeout_s: float
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                # One after the other: all of them have to end, and this takes one descriptor at a time.
                for process in processes:
                    if process.identity not in refused:
                        await self._until_ended(process.identity)

    def _send(self, leader: Identity, processes: Sequence[Process], signum: signal.Signals) -> set[Identity]:
        """Signal each of them once; return who refused."""
        refused: set[Identity] = set()
        grouped = any(process.identity == leader for process in processes) and self._lives(leader)
        if grouped:
            # The whole group in one step, so that no child forked meanwhile is missed.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, signum)
        for process in processes:
            # SIGKILL goes to each one too: killpg does not say whom it was not allowed to reach.
            if grouped and process.pgid == leader.pid and signum != signal.SIGKILL:
                continue
            try:
                self._send_one(process.identity, signum)
            except ProcessLookupError:
                continue
            except PermissionError:
                refused.add(process.identity)
        return refused

    def _send_one(self, who: Identity, signum: signal.Signals) -> None:
        try:
            fd = os.pidfd_open(who.pid)
        except ProcessLookupError:
            raise
        except (AttributeError, OSError):
            if self._lives(who):
                os.kill(who.pid, signum)
            return
        try:
            # The descriptor keeps meaning the process that is compared here.
            if self._lives(who):
                signal.pidfd_send_signal(fd, signum)
        finally:
            os.close(fd)

    def _lives(self, who: Identity) -> bool:
        found = self._table.find(who.pid)
        return found is not None and found.identity == who and not found.zombie
