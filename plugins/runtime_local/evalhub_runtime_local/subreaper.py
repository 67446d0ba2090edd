"""Child subreaper (Linux): orphans of workloads become children of this process, which attributes and reaps them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from contextlib import suppress

from evalhub_runtime_local.process_table import (
    Identity,
    ProcessTable,
    adopted_pids,
    child_pids,
    lists_children,
    reap,
)
from evalhub_runtime_local.shim import Shim
from evalhub_runtime_local.workload import Workloads

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
REAP_INTERVAL_S = 1.0


class Subreaper:
    """:meth:`open` makes this process a subreaper, if the platform has them; :meth:`close` ends that."""

    def __init__(self, table: ProcessTable, workloads: Workloads, shim: Shim) -> None:
        self._table = table
        self._workloads = workloads
        self._shim = shim
        self._was_subreaper = False
        self._zombies: set[Identity] = set()
        self._task: asyncio.Task[None] | None = None
        self.active = False
        """All descendants of this process stay descendants, even those that lose their parents."""

    def open(self) -> None:
        """Become a subreaper and start the task that reaps. Call from the event loop."""
        if sys.platform != "linux" or not lists_children():
            return
        self._was_subreaper = _subreaper()
        self.active = _set_subreaper(True)
        if self.active or os.getpid() == 1:
            self._task = asyncio.create_task(self._reap_regularly(), name="reap-orphans")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.active:
            self.reap()
            _set_subreaper(self._was_subreaper)

    def no_orphans(self) -> bool:
        """Are all adopted children the shim, leaders of workloads, or programs of this process, which are in its session?

        Then a workload whose leader has exited has no process left.
        """
        others = adopted_pids() - {self._shim.pid}
        if not others:
            return True
        session = os.getsid(0)
        others -= self._workloads.leaders()  # adopted when their shim was killed
        return all(process.sid == session for process in map(self._table.find, others) if process is not None)

    def reap(self) -> None:
        """Reap adopted zombies: those in other sessions, and those that were zombies at the last call as well.

        Leaders are reaped elsewhere. A helper program of this process is in its session, and is collected by the code that
        started it in less time than between two calls: its exit status must not be taken away.
        """
        with self._workloads.lock:
            children = child_pids(os.getpid()) - self._workloads.leaders()
        session = os.getsid(0)
        zombies: set[Identity] = set()
        for pid in children:
            process = self._table.find(pid)
            if process is None or not process.zombie:
                continue
            if process.sid != session or process.identity in self._zombies:
                reap(pid)
            else:
                zombies.add(process.identity)
        self._zombies = zombies

    async def _reap_regularly(self) -> None:
        while True:
            await asyncio.sleep(REAP_INTERVAL_S)
            with suppress(OSError):  # no file descriptor left: the next round will do
                self.reap()


def _subreaper() -> bool:
    flag = ctypes.c_int()
    return ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0) == 0 and bool(
        flag.value
    )


def _set_subreaper(on: bool) -> bool:
    return ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0) == 0 and on
