"""Termination of a workload: SIGTERM, a grace period, SIGKILL, for every process of its tree."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

import structlog

from evalhub_runtime_local.exit_watcher import reap
from evalhub_runtime_local.process_tree import Identity, Ownership, Process, ProcessScanner, ProcessTable

log = structlog.get_logger()

# A killed process exits at once unless it hangs in the kernel; then the scan is repeated.
KILL_WAIT_S = 2.0


class Terminator:
    """Terminates workloads. ``until_exited`` returns when a process has exited; only it reaps leaders."""

    def __init__(
        self,
        table: ProcessTable,
        scanner: ProcessScanner,
        until_exited: Callable[[Identity], Awaitable[object]],
    ) -> None:
        self._table = table
        self._scanner = scanner
        self._until_exited = until_exited

    async def stop(self, leader: Identity, owned: Ownership, grace_s: float) -> set[Identity]:
        """Send SIGTERM, wait up to ``grace_s`` seconds, send SIGKILL; return when a scan finds no process left.

        Idempotent, also when called concurrently. Processes of another user cannot be signalled: they are
        left running, logged and returned.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace_s
        signalled: set[Identity] = set()
        refused: set[Identity] = set()
        while living := await self._living(leader, owned, refused):
            # A process that appears later (a cleanup helper, a child forked meanwhile) gets one SIGTERM, too.
            new = [process for process in living if process.identity not in signalled]
            refused |= await asyncio.to_thread(self._send, leader, new, signal.SIGTERM)
            signalled.update(process.identity for process in new)
            left = deadline - clock()
            if left <= 0:
                break
            await self._until_all_exited(living, refused, left)
        while living := await self._living(leader, owned, refused):
            refused |= await asyncio.to_thread(self._send, leader, living, signal.SIGKILL)
            await self._until_all_exited(living, refused, KILL_WAIT_S)
        if refused:
            log.warning("Processes of another user left running", pids=sorted(pid for pid, _ in refused))
        return refused

    async def _living(self, leader: Identity, owned: Ownership, refused: set[Identity]) -> Sequence[Process]:
        snapshot = await self._scanner.scan()
        members = await asyncio.to_thread(snapshot.members, leader, owned)
        for process in members:
            # Where this process adopts orphans (as PID 1 of a container), nothing else reaps them.
            if process.zombie and process.ppid == os.getpid() and process.identity != leader:
                reap(process.pid)
        return [process for process in members if not process.zombie and process.identity not in refused]

    async def _until_all_exited(
        self, processes: Iterable[Process], refused: set[Identity], timeout_s: float
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                # One after the other: all of them must exit, and this takes one descriptor at a time.
                for process in processes:
                    if process.identity not in refused:
                        await self._until_exited(process.identity)

    def _send(self, leader: Identity, processes: Sequence[Process], signum: signal.Signals) -> set[Identity]:
        """Signal each process once; return those that this user may not signal."""
        refused: set[Identity] = set()
        grouped = any(process.identity == leader for process in processes) and self._is_alive(leader)
        if grouped:
            # The whole group in one step, so that no child forked meanwhile is missed.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(leader.pid, signum)
        for process in processes:
            # SIGKILL goes to each process as well: killpg does not report which ones it was not allowed to signal.
            if grouped and process.pgid == leader.pid and signum != signal.SIGKILL:
                continue
            try:
                self._send_one(process.identity, signum)
            except ProcessLookupError:
                continue
            except PermissionError:
                refused.add(process.identity)
        return refused

    def _send_one(self, process: Identity, signum: signal.Signals) -> None:
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            raise
        except (AttributeError, OSError):
            if self._is_alive(process):
                os.kill(process.pid, signum)
            return
        try:
            # The descriptor refers to the process that is compared here, even if its id is reused.
            if self._is_alive(process):
                signal.pidfd_send_signal(fd, signum)
        finally:
            os.close(fd)

    def _is_alive(self, process: Identity) -> bool:
        found = self._table.find(process.pid)
        return found is not None and found.identity == process and not found.zombie
