"""A wake-up call for one task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Wake:
    """Wakes the task that waits: something may have changed."""

    def __init__(self) -> None:
        self._set = False
        self._woken: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._set = True
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def clear(self) -> None:
        self._set = False

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        """Wait for the condition or for the timeout."""
        until = time.monotonic() + timeout_s
        while not condition() and (left_s := until - time.monotonic()) > 0:
            self.clear()
            await self.wait(left_s)

    async def wait(self, timeout_s: float | None) -> None:
        """Wait for a wake-up or for the timeout."""
        if self._set:
            return
        loop = asyncio.get_running_loop()
        self._woken = loop.create_future()
        timer = None if timeout_s is None else loop.call_later(timeout_s, self.set)
        try:
            await self._woken
        finally:
            self._woken = None
            if timer is not None:
                timer.cancel()
