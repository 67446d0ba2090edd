"""State of one workload, as its waiters see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.job_status import Assessment, Observation
from evalhub_server.plugins import Exit, Notice


class Subscription:
    """State of one workload: updated by the reconciler, awaited by any number of callers."""

    def __init__(self, handle: JobHandle) -> None:
        self.handle = handle
        self.observation = Observation()
        self.listeners = 0
        self.warning = ""
        """Warnings of the API from the creation of the Job."""
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._notice: Notice | None = None
        self._known = False
        self._changed = asyncio.Event()

    def update(self, verdict: Assessment) -> None:
        self.observation = verdict.observation
        if verdict.exit is not None:
            self.end(verdict.exit)
        else:
            self.notify(verdict.notice)

    def end(self, exit_: Exit) -> None:
        if not self.exit.done():
            self.exit.set_result(exit_)

    def notify(self, notice: Notice | None) -> None:
        """Publish a notice if its reason is new; texts alone change with every poll."""
        before = self._notice.reason if self._notice else ""
        if not self._known or before != (notice.reason if notice else ""):
            self._notice, self._known = notice, True
            self._changed.set()
            self._changed = asyncio.Event()

    async def notices(self) -> AsyncGenerator[Notice | None]:
        """Yield the current notice as soon as one is known, then every later one."""
        while True:
            changed = self._changed
            if self._known:
                yield self._notice
            await changed.wait()
