"""Exits of adapters: from the shim, or by pidfd, kqueue or polling, and one task for each leader of a workload."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
import time
from contextlib import suppress

from msgspec.structs import replace

from evalhub_runtime_local.attempt_files import Attempt
from evalhub_runtime_local.process_table import SHORTAGES, Identity, ProcessTable, find_same, reap
from evalhub_runtime_local.shim import Shim, settle
from evalhub_runtime_local.shim_process import shell_status
from evalhub_server.plugins import INTERRUPTED, Exit

POLL_S = 0.05
RETRY_S = 0.2
RECORD_WAIT_S = 10.0
"""For so long a process may remain a zombie until the shim of an earlier server has recorded its exit."""


async def wait_for_exit(process: Identity, table: ProcessTable, *, pidfd: bool = True) -> int | None:
    """Return when the process has exited; at once if it already has. A zombie counts as exited.

    Works for any process, not only for children. For a child of this process the raw wait status is returned, for any
    other process None. The child stays a zombie, except where the platform cannot wait without reaping (macOS).
    Cancel-safe. Raises :class:`OSError` if its state cannot be read now, for example when no file descriptor is left.
    """
    if process.pid <= 0:
        return None
    fd = None
    if pidfd:
        try:
            fd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return None
        except (AttributeError, OSError):
            # Not Linux, an old kernel, a sandbox without pidfd, or no file descriptor left: wait in a thread instead.
            fd = None
    try:
        # Compared after opening: the descriptor refers to this process, even if its id is reused later.
        if find_same(table, process) is None:
            return None
        if fd is None:
            return await _wait_in_thread(process, table)
        await _readable(fd)
        return _status(process.pid)
    finally:
        if fd is not None:
            os.close(fd)


def _status(pid: int, *, block: bool = False) -> int | None:
    """Return the raw wait status of a child without reaping it; None if it runs (unless ``block``) or is no child."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | (0 if block else os.WNOHANG))
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status << 8 if found.si_code == os.CLD_EXITED else found.si_status


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, settle, ready, None)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _wait_in_thread(process: Identity, table: ProcessTable) -> int | None:
    """Wait in a dedicated thread: the event loop's pool is small, and a workload can run for days."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[int | None] = loop.create_future()

    def watch() -> None:
        status = _wait_blocking(process, table)
        # The loop may be closed by the time the process ends.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, status)

    threading.Thread(target=watch, name=f"exit-of-{process.pid}", daemon=True).start()
    return await result


def _wait_blocking(process: Identity, table: ProcessTable) -> int | None:
    if hasattr(os, "waitid"):
        status = _status(process.pid, block=True)
        if status is not None:
            return status
    else:
        with suppress(ChildProcessError):
            return os.waitpid(process.pid, 0)[1]
    if sys.platform == "darwin":
        with suppress(ProcessLookupError), contextlib.closing(select.kqueue()) as queue:
            exits = select.kevent(
                process.pid,
                select.KQ_FILTER_PROC,
                select.KQ_EV_ADD | select.KQ_EV_ONESHOT,
                select.KQ_NOTE_EXIT,
            )
            queue.control([exits], 1, None)
        return None
    # Not a child, on a Linux without pidfd: there is no notification, so poll.
    while _is_alive(process, table):
        time.sleep(POLL_S)
    return None


def _is_alive(process: Identity, table: ProcessTable) -> bool:
    try:
        found = find_same(table, process)
    except OSError:
        return True  # unknown now
    return found is not None and not found.zombie


def _is_zombie(process: Identity, table: ProcessTable) -> bool:
    found = find_same(table, process)
    return found is not None and found.zombie


def reap_exited(process: Identity, table: ProcessTable) -> None:
    """Reap a process if it is a child of this one, has exited, and its id was not reused."""
    with suppress(OSError):
        if _is_zombie(process, table):
            reap(process.pid)


class ExitWatcher:
    """One task for each attempt, kept until :meth:`release`. A leader that this server's shim started stays a zombie until then,
    where the system permits it.

    So its process id is not reused, which proves that processes in its session belong to its workload.
    """

    def __init__(self, table: ProcessTable, shim: Shim, *, pidfd: bool = True) -> None:
        self._table = table
        self._shim = shim
        self._pidfd = pidfd
        self._tasks: dict[str, asyncio.Task[Exit]] = {}
        """By the marker of the attempt."""
        self._leaders: dict[Identity, str] = {}

    def watch(
        self, attempt: Attempt, leader: Identity, exited: asyncio.Future[int | None] | None = None
    ) -> asyncio.Task[Exit]:
        """Return the task that waits for the leader to exit; start it if there is none.

        ``exited``: its exit status from the shim that started it for this process, see :meth:`Shim.exit_of`.
        """
        marker = attempt.marker
        task = self._tasks.get(marker)
        if task is None:
            self._leaders[leader] = marker
            task = asyncio.create_task(self._watch(attempt, leader, exited), name=f"exit-of-{leader.pid}")
            self._tasks[marker] = task
            task.add_done_callback(lambda task: self._done(marker, task))
        return task

    async def exit_of(self, attempt: Attempt, leader: Identity) -> Exit:
        """Wait for the leader and return its exit. Cancel-safe: the task continues."""
        return await asyncio.shield(self.watch(attempt, leader))

    def has_exited(self, leader: Identity) -> bool:
        """Whether a leader is known to have exited."""
        task = self._tasks.get(self._leaders.get(leader, ""))
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    async def until_exited(self, process: Identity) -> None:
        """Return when a process of a workload has exited. It is reaped, unless it is a leader."""
        marker = self._leaders.get(process)
        if marker is not None and (task := self._tasks.get(marker)) is not None:
            await asyncio.wait([task])
        else:
            await wait_for_exit(process, self._table, pidfd=self._pidfd)
            if marker is None:
                reap(process.pid)

    async def release(self, attempt: Attempt, leader: Identity) -> None:
        """Reap the leader of an attempt of which every process has exited."""
        task = self._tasks.get(attempt.marker)
        if task is not None:
            if not task.done():
                await asyncio.wait([task])
            self._tasks.pop(attempt.marker, None)
        self._leaders.pop(leader, None)
        if not self._shim.reap(leader.pid):
            reap_exited(leader, self._table)

    async def close(self) -> None:
        """Cancel the tasks; the workloads continue. Reap leaders that have exited and lost their shim."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for leader in self._leaders:
            reap_exited(leader, self._table)

    def _done(self, marker: str, task: asyncio.Task[Exit]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._tasks.pop(marker, None)

    async def _watch(
        self, attempt: Attempt, leader: Identity, exited: asyncio.Future[int | None] | None
    ) -> Exit:
        unattended = exited is None and not _is_alive(leader, self._table)
        # Shielded: a shim with running adapters is recognised by exits that are not settled.
        status = None if exited is None else await asyncio.shield(exited)
        if status is None:
            status = await self._status_without_shim(attempt, leader)
        while True:
            try:
                exit_ = self._outcome(attempt, status)
                # While no server watches, adapters are terminated by a service manager or a shutdown of the host.
                interrupted = unattended and exit_.signal == "SIGTERM"
                return replace(exit_, reason=INTERRUPTED) if interrupted else exit_
            except OSError as error:
                if error.errno not in SHORTAGES:
                    return Exit(lost=True, message=f"its exit status cannot be read: {error}")
            # Retried here and not by callers, which would wait once more for the process.
            await asyncio.sleep(RETRY_S)

    async def _status_without_shim(self, attempt: Attempt, leader: Identity) -> int | None:
        """Wait for a leader of an earlier server's shim, or of a shim that was killed; its status, if that is known."""
        wait_status = await wait_for_exit(leader, self._table, pidfd=self._pidfd)
        until = time.monotonic() + RECORD_WAIT_S
        # Its shim has yet to record the exit, or this process to adopt it from a shim that was killed.
        while (
            wait_status is None
            and _is_zombie(leader, self._table)
            and attempt.read_exit() is None
            and time.monotonic() < until
        ):
            await asyncio.sleep(POLL_S)
            wait_status = await wait_for_exit(leader, self._table, pidfd=self._pidfd)
        if wait_status is None:
            return None
        status = shell_status(os.waitstatus_to_exitcode(wait_status))
        with suppress(OSError):  # recorded for a server that is restarted; this one knows it already
            attempt.record_exit(status)
        return status

    def _outcome(self, attempt: Attempt, status: int | None) -> Exit:
        """Return the exit for a known status, else the recorded one, else a lost one."""
        if status is not None:
            return attempt.exit_of(status)
        return attempt.read_exit() or Exit(lost=True, message=f"no exit status is recorded in {attempt.meta}")
