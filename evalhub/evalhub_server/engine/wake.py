"""A wake-up call for one task, with waits for it or for something else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


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

    async def until(
        self,
        condition: Callable[[], bool],
        other: asyncio.Future[Any] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Wait for the condition, for ``other`` to be done, or for the timeout."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not condition() and not (other is not None and other.done()):
            left_s = None if until is None else until - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            self.clear()
            await self.wait(other, left_s)

    async def wait(self, other: asyncio.Future[Any] | None, timeout_s: float | None) -> None:
        """Wait for a wake-up, for ``other`` to be done, or for the timeout."""
        if self._set:
            return
        self._woken = woken = asyncio.get_running_loop().create_future()
        both = (woken,) if other is None else (woken, other)
        try:
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._woken = None
            woken.cancel()
