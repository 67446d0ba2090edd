"""One workload that somebody waits for: what is known of it, and who has to be told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from evalhub_runtime_k8s.handles import JobHandle
from evalhub_runtime_k8s.job_status import Memory, Verdict
from evalhub_server.plugins import Exit, Notice


class Followed:
    """Changed by the reconciler; awaited by any number of callers."""

    def __init__(self, handle: JobHandle) -> None:
        self.handle = handle
        self.memory = Memory()
        self.listeners = 0
        self.warning = ""
        """What the cluster said when it made the Job."""
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._notice: Notice | None = None
        self._known = False
        self._changed = asyncio.Event()

    def take(self, verdict: Verdict) -> None:
        self.memory = verdict.memory
        if verdict.exit is not None:
            self.end(verdict.exit)
        else:
            self.say(verdict.notice)

    def end(self, exit_: Exit) -> None:
        if not self.exit.done():
            self.exit.set_result(exit_)

    def say(self, notice: Notice | None) -> None:
        """Tell who listens, if it is about something else than before: texts alone change at every look."""
        before = self._notice.reason if self._notice else ""
        if not self._known or before != (notice.reason if notice else ""):
            self._notice, self._known = notice, True
            self._changed.set()
            self._changed = asyncio.Event()

    async def notices(self) -> AsyncGenerator[Notice | None]:
        """The present notice as soon as one is known, then every other."""
        while True:
            changed = self._changed
            if self._known:
                yield self._notice
            await changed.wait()
