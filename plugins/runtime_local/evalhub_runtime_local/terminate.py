"""Termination of a workload: SIGTERM, a grace period, SIGKILL, for every process of its tree."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import structlog

from evalhub_runtime_local import cgroup
from evalhub_runtime_local.exit_watcher import ExitWatcher
from evalhub_runtime_local.process_table import Identity, Process, ProcessTable, find_same, reap
from evalhub_runtime_local.process_tree import ProcessScanner, Snapshot
from evalhub_runtime_local.subreaper import Subreaper
from evalhub_runtime_local.workload import Workload, Workloads

log = structlog.get_logger()

# A killed process exits at once unless it hangs in the kernel; then the scan is repeated.
KILL_WAIT_S = 2.0
# Between scans for processes that appear during the grace period.
FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
SCANS_WITHOUT_PROCESSES = 2
"""So many scans in a row must find nothing: a process that forks and exits can slip through one."""


class Terminator:
    """Terminates workloads. Only ``watcher`` reaps leaders."""

    def __init__(
        self,
        table: ProcessTable,
        workloads: Workloads,
        subreaper: Subreaper,
        watcher: ExitWatcher,
    ) -> None:
        self._table = table
        self._workloads = workloads
        self._subreaper = subreaper
        self._watcher = watcher
        self._descendants = ProcessScanner(self._scan_descendants)
        self._everything = ProcessScanner(self._scan_everything)

    async def stop(self, workload: Workload, grace_s: float) -> set[Identity]:
        """Send SIGTERM, wait up to ``grace_s`` seconds, send SIGKILL; return when no process is left.

        ``workload`` is registered. Idempotent, also when called concurrently. Processes of another user cannot be
        signalled: they are left running, logged and returned.
        """
        if self._has_exited_alone(workload):
            await self._remove_group(workload)
            return set()
        clock = asyncio.get_running_loop().time
        deadline = clock() + grace_s
        signalled: set[Identity] = set()
        refused: set[Identity] = set()
        pause_s = FIRST_PAUSE_S
        while living := await self._living(workload, refused):
            # A process that appears later (a cleanup helper, a child forked meanwhile) gets one SIGTERM, too.
            new = [process for process in living if process.identity not in signalled]
            refused |= await asyncio.to_thread(self._send, workload.leader, new, signal.SIGTERM)
            signalled.update(process.identity for process in new)
            left = deadline - clock()
            if left <= 0:
                break
            await self._until_all_exited(living, refused, min(left, pause_s))
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
        while await self._living(workload, refused):
            refused |= await asyncio.to_thread(self._kill, workload, refused)
            await self._until_all_exited(workload.members, refused, KILL_WAIT_S)
        await self._remove_group(workload)
        if refused:
            log.warning("Processes of another user left running", pids=sorted(pid for pid, _ in refused))
        return refused

    async def _remove_group(self, workload: Workload) -> None:
        if workload.cgroup is not None:
            await asyncio.to_thread(cgroup.remove, workload.cgroup)

    def _has_exited_alone(self, workload: Workload) -> bool:
        """The common case, without a scan: the adapter has exited, and this process has adopted nothing."""
        if not workload.contained:
            return False
        if not self._watcher.has_exited(workload.leader):
            return False
        return all(self._subreaper.no_orphans() for _ in range(SCANS_WITHOUT_PROCESSES))

    async def _living(self, workload: Workload, refused: set[Identity]) -> Sequence[Process]:
        for _ in range(SCANS_WITHOUT_PROCESSES):
            if self._has_exited_alone(workload):
                return []
            if workload.cgroup is not None:
                await asyncio.to_thread(self._update_from_cgroup, workload)
            elif not await asyncio.to_thread(self._update_from_tree, workload):
                scanner = self._descendants if workload.contained else self._everything
                workload.members = (await scanner.scan()).members(workload)
            if living := self._living_members(workload, refused):
                return living
        return []

    def _living_members(self, workload: Workload, refused: set[Identity]) -> list[Process]:
        for process in workload.members:
            # Where this process adopts orphans, nothing else reaps them.
            if process.zombie and process.ppid == os.getpid() and process.identity != workload.leader:
                reap(process.pid)
        return [
            process for process in workload.members if not process.zombie and process.identity not in refused
        ]

    def _scan_descendants(self) -> Snapshot:
        with self._workloads.lock:
            processes = self._table.descendants(os.getpid())
            contained = [workload for workload in self._workloads.all() if workload.contained]
            # Adapters that are being started are not in the list yet, and may have orphans, too.
            complete_until = self._workloads.starting_since()
        return Snapshot(self._table, processes, contained, complete_until=complete_until)

    def _scan_everything(self) -> Snapshot:
        others = [workload for workload in self._workloads.all() if not workload.contained]
        return Snapshot(self._table, self._table.all(), others)

    def _update_from_tree(self, workload: Workload) -> bool:
        """Update the members from the leader's descendants, if no other process can be one; else return False."""
        if not workload.contained:
            return False
        leader = find_same(self._table, workload.leader)
        members = [] if leader is None else [leader, *self._table.descendants(leader.pid)]
        if not self._subreaper.no_orphans():  # looked at last: what left the tree meanwhile is an orphan
            return False
        workload.members = members
        return True

    def _update_from_cgroup(self, workload: Workload) -> None:
        assert workload.cgroup is not None  # noqa: S101
        pids = {workload.leader.pid, *cgroup.processes(workload.cgroup)}
        found = [process for pid in pids if (process := self._table.find(pid)) is not None]
        workload.members = [
            process
            for process in found
            if process.pid != workload.leader.pid or process.identity == workload.leader
        ]

    def _kill(self, workload: Workload, refused: set[Identity]) -> set[Identity]:
        """Kill in a tight loop, so that processes which fork and exit faster than a scan are caught. Blocks."""
        until = time.monotonic() + KILL_WAIT_S
        not_signalled = set(refused)
        while time.monotonic() < until:
            if workload.cgroup is not None:
                cgroup.kill(workload.cgroup)
                self._update_from_cgroup(workload)
            elif not self._update_from_tree(workload):
                snapshot = self._scan_descendants() if workload.contained else self._scan_everything()
                workload.members = snapshot.members(workload)
            living = self._living_members(workload, not_signalled)
            if not living:
                break
            not_signalled |= self._send(workload.leader, living, signal.SIGKILL)
        return not_signalled - refused

    async def _until_all_exited(
        self, processes: Iterable[Process], refused: set[Identity], timeout_s: float
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                # One after the other: all of them must exit, and this takes one descriptor at a time.
                for process in processes:
                    if process.identity not in refused:
                        await self._watcher.until_exited(process.identity)

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
        found = find_same(self._table, process)
        return found is not None and not found.zombie
