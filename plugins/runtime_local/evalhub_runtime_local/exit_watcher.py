"""Detection of process exits (pidfd, kqueue or polling), and one task for each leader of a workload."""

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

from evalhub_runtime_local.attempt_files import Attempt, signal_name
from evalhub_runtime_local.process_table import SHORTAGES, Identity, ProcessTable
from evalhub_server.plugins import INTERRUPTED, Exit

POLL_S = 0.05
RETRY_S = 0.2


async def wait_for_exit(
    process: Identity, table: ProcessTable, *, pidfd: bool = True, unreaped: bool = False
) -> int | None:
    """Return when the process has exited; at once if it already has. A zombie counts as exited.

    ``unreaped``: it is a child of this process that is not reaped, so its id was not reused.

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
        found = None if unreaped else table.find(process.pid)
        if not unreaped and (found is None or found.identity != process):
            return None
        if fd is None:
            return await _wait_in_thread(process, table)
        await _readable(fd)
        return _status(process.pid)
    finally:
        if fd is not None:
            os.close(fd)


def reap(pid: int) -> None:
    """Reap a child that has exited; does nothing if it still runs or is not a child."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


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
    loop.add_reader(fd, _settle, ready, None)
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
            loop.call_soon_threadsafe(_settle, result, status)

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
        found = table.find(process.pid)
    except OSError:
        return True  # unknown now
    return found is not None and found.identity == process and not found.zombie


def reap_exited(process: Identity, table: ProcessTable) -> None:
    """Reap a process if it is a child of this one, has exited, and its id was not reused."""
    with suppress(OSError):
        found = table.find(process.pid)
        if found is not None and found.identity == process and found.zombie:
            reap(process.pid)


def _settle(future: asyncio.Future[int | None], value: int | None) -> None:
    if not future.done():
        future.set_result(value)


class ExitWatcher:
    """One task for each attempt, kept until :meth:`release`. An exited leader stays a zombie until then.

    So its process id is not reused, which proves that processes in its session belong to its workload.
    """

    def __init__(self, table: ProcessTable, *, pidfd: bool = True) -> None:
        self._table = table
        self._pidfd = pidfd
        self._tasks: dict[str, asyncio.Task[Exit]] = {}
        """By the marker of the attempt."""
        self._leaders: dict[Identity, str] = {}
        self._unreaped: set[Identity] = set()
        """Leaders that this process started and only :meth:`release` reaps, so that their ids are not reused."""

    def watch(self, attempt: Attempt, leader: Identity, *, launched: bool = False) -> asyncio.Task[Exit]:
        """Return the task that waits for the leader to exit; start it if there is none.

        ``launched``: this process has just started it, so its exit has been watched from the beginning.
        """
        marker = attempt.marker
        task = self._tasks.get(marker)
        if task is None:
            self._leaders[leader] = marker
            if launched and hasattr(os, "waitid"):  # else waiting reaps
                self._unreaped.add(leader)
            task = asyncio.create_task(
                self._watch(attempt, leader, launched=launched), name=f"exit-of-{leader.pid}"
            )
            self._tasks[marker] = task
            task.add_done_callback(lambda task: self._done(marker, task))
        return task

    async def exit_of(self, attempt: Attempt, leader: Identity) -> Exit:
        """Wait for the leader and return its exit. Cancel-safe: the task continues."""
        return await asyncio.shield(self.watch(attempt, leader))

    def has_exited(self, leader: Identity) -> bool:
        """Whether a leader is known to have exited; it is a zombie, if it is a child."""
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
        if leader in self._unreaped:
            self._unreaped.remove(leader)
            reap(leader.pid)
        else:
            reap_exited(leader, self._table)

    async def close(self) -> None:
        """Cancel the tasks and reap the leaders that have exited; the workloads continue."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for leader in self._leaders:
            reap_exited(leader, self._table)

    def _done(self, marker: str, task: asyncio.Task[Exit]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._tasks.pop(marker, None)

    async def _watch(self, attempt: Attempt, leader: Identity, *, launched: bool) -> Exit:
        unattended = not launched and not _is_alive(leader, self._table)
        status = await wait_for_exit(leader, self._table, pidfd=self._pidfd, unreaped=launched)
        while True:
            try:
                exit_ = self._outcome(attempt, leader, status)
                # While no server watches, adapters are terminated by a service manager or a shutdown of the host.
                interrupted = unattended and exit_.signal == "SIGTERM"
                return replace(exit_, reason=INTERRUPTED) if interrupted else exit_
            except OSError as error:
                if error.errno not in SHORTAGES:
                    return Exit(lost=True, message=f"its exit status cannot be read: {error}")
            # Retried here and not by callers, which would wait once more for the process.
            await asyncio.sleep(RETRY_S)

    def _outcome(self, attempt: Attempt, leader: Identity, status: int | None) -> Exit:
        """Return the recorded exit, else one from the wait status (known to the parent only), else a lost one."""
        if status == 0:
            return Exit(code=0)  # the ordinary case, without a look at its files
        recorded = attempt.read_exit()
        if recorded is not None:
            return recorded
        if status is None:
            return Exit(lost=True, message=f"no exit status is recorded in {attempt.meta}")
        if os.WIFSIGNALED(status):
            with suppress(OSError):  # recorded for a server that is restarted; this one knows it already
                attempt.record_signal(os.WTERMSIG(status))
            name = signal_name(os.WTERMSIG(status))
            return Exit(signal=name, message="the shell that ran the command was killed")
        if attempt.read_pid() == leader.pid:
            return Exit(code=os.WEXITSTATUS(status))
        return Exit(
            lost=True,
            message=f"the command was not started: {attempt.pid_file} could not be written; is the disk full?",
        )
