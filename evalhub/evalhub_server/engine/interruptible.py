"""Calls that another task may interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Interrupted(Exception):
    """The call was cancelled by :meth:`InterruptibleCall.interrupt`."""


class InterruptibleCall:
    """Awaits one call at a time in the task that needs its result, so it needs no task of its own."""

    def __init__(self) -> None:
        self._scope: asyncio.Timeout | None = None

    def interrupt(self) -> None:
        """Cancel the call, if there is one now."""
        if self._scope is not None:
            self._scope.reschedule(0)
            self._scope = None  # a scope is cancelled once

    async def result(self, call: Awaitable[T]) -> T:
        """The result of the call, also if it returns one after it was interrupted.

        Raises:
            Interrupted: it has not returned a result.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scope = scope
                return await call
        except TimeoutError as error:
            if scope.expired():
                raise Interrupted from error
            raise
        finally:
            self._scope = None
