"""Learning that a process has ended, without polling where the system can tell, under any event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
import threading
import time
from contextlib import suppress

from evalhub_runtime_local.proctable import Identity, ProcessTable

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
