"""Detection of process exits (pidfd, kqueue or polling), and one task for each leader that reaps it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
import time
from contextlib import suppress

from evalhub_runtime_local.attempt_files import Attempt, signal_name
from evalhub_runtime_local.process_tree import SHORTAGES, Identity, ProcessTable
from evalhub_server.domain.record import Exit

POLL_S = 0.05


async def ended(who: Identity, table: ProcessTable, *, pidfd: bool = True) -> int | None:
    """Return when the process has ended, at once if it already has; a zombie has.

    Works for any process, not only for children. A child of this process is reaped; the returned value is then
    its raw wait status, else None. Cancel-safe: the process is not touched. Raises :class:`OSError` if nobody can
    tell just now, such as without a file descriptor left.
    """
    if who.pid <= 0:
        return None
    fd = None
    if pidfd:
        try:
            fd = os.pidfd_open(who.pid)
        except ProcessLookupError:
            return None
        except (AttributeError, OSError):
            # Not Linux, an old kernel, a sandbox without it, or no file descriptor left: a thread will do.
            fd = None
    try:
        # Compared after opening: from then on the descriptor means this process and no later one.
        found = table.find(who.pid)
        if found is None or found.identity != who:
            return None
        if fd is None:
            return await _ended_in_thread(who, table)
        await _readable(fd)
        return reap(who.pid)
    finally:
        if fd is not None:
            os.close(fd)


def reap(pid: int) -> int | None:
    """Take the exit status of a child that has ended; None if it is none, still runs or was reaped before."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if reaped else None


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, _settle, ready, None)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def _ended_in_thread(who: Identity, table: ProcessTable) -> int | None:
    """One thread of its own for each: the event loop's pool is small and a workload can run for days."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[int | None] = loop.create_future()

    def watch() -> None:
        status = _wait_blocking(who, table)
        # The loop may be closed by the time the process ends.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, result, status)

    threading.Thread(target=watch, name=f"exit-of-{who.pid}", daemon=True).start()
    return await result


def _wait_blocking(who: Identity, table: ProcessTable) -> int | None:
    with suppress(ChildProcessError):
        return os.waitpid(who.pid, 0)[1]
    if sys.platform == "darwin":
        with suppress(ProcessLookupError), contextlib.closing(select.kqueue()) as queue:
            exits = select.kevent(
                who.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT
            )
            queue.control([exits], 1, None)
        return None
    # Somebody else's child on a Linux without pidfd: nothing tells about it.
    while _lives(who, table):
        time.sleep(POLL_S)
    return None


def _lives(who: Identity, table: ProcessTable) -> bool:
    try:
        found = table.find(who.pid)
    except OSError:
        return True  # nobody can tell just now
    return found is not None and found.identity == who and not found.zombie


def _settle(future: asyncio.Future[int | None], value: int | None) -> None:
    if not future.done():
        future.set_result(value)


RETRY_S = 0.2


class Followers:
    """Owns the tasks; a workload's leader is reaped here and nowhere else, so no zombie stays."""

    def __init__(self, table: ProcessTable, *, pidfd: bool = True) -> None:
        self._table = table
        self._pidfd = pidfd
        self._tasks: dict[Identity, asyncio.Task[Exit]] = {}

    def follow(self, attempt: Attempt, leader: Identity) -> asyncio.Task[Exit]:
        """The task that ends with the leader; made if there is none."""
        task = self._tasks.get(leader)
        if task is None:
            task = asyncio.create_task(self._follow(attempt, leader), name=f"follow-{leader.pid}")
            self._tasks[leader] = task
            task.add_done_callback(lambda task: self._done(leader, task))
        return task

    async def exit_of(self, attempt: Attempt, leader: Identity) -> Exit:
        """Cancel-safe: the task goes on."""
        return await asyncio.shield(self.follow(attempt, leader))

    async def until_ended(self, who: Identity) -> None:
        """For anybody of a workload. A leader is left to its task."""
        task = self._tasks.get(who)
        if task is None:
            await ended(who, self._table, pidfd=self._pidfd)
        else:
            await asyncio.wait([task])

    async def settled(self, leader: Identity) -> None:
        """Return when a leader that has ended is reaped."""
        task = self._tasks.get(leader)
        if task is not None:
            await asyncio.wait([task])

    async def close(self) -> None:
        """End the tasks; the workloads go on."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, leader: Identity, task: asyncio.Task[Exit]) -> None:
        del self._tasks[leader]
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits at this time

    async def _follow(self, attempt: Attempt, leader: Identity) -> Exit:
        status = await ended(leader, self._table, pidfd=self._pidfd)
        while True:
            try:
                return await asyncio.to_thread(self._outcome, attempt, leader, status)
            except OSError as error:
                if error.errno not in SHORTAGES:
                    return Exit(lost=True, message=f"what was noted of its end cannot be read: {error}")
            # Here and not by whoever asks: a wait status is given out only once.
            await asyncio.sleep(RETRY_S)

    def _outcome(self, attempt: Attempt, leader: Identity, status: int | None) -> Exit:
        """What the leader noted; else its own wait status, which only its parent has; else nothing is known."""
        noted = attempt.read_exit()
        if noted is not None:
            return noted
        if status is None:
            return Exit(lost=True, message=f"nothing was noted in {attempt.meta}")
        if os.WIFSIGNALED(status):
            with suppress(OSError):  # for who asks after a restart; now it is known anyhow
                attempt.record_signal(os.WTERMSIG(status))
            name = signal_name(os.WTERMSIG(status))
            return Exit(signal=name, message="the shell that ran the command was killed")
        if attempt.read_pid() == leader.pid:
            return Exit(code=os.WEXITSTATUS(status))
        return Exit(
            lost=True,
            message=f"the command was not started: {attempt.pid_file} could not be written; is the disk full?",
        )
