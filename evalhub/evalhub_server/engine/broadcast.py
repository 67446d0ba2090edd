"""Tells observers about committed changes, in their order, without ever holding up a job."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import structlog

from evalhub_server.plugins.hookspecs import JobChanged

log = structlog.get_logger()

Observer = Callable[..., Any]
OBSERVER_TIMEOUT_S = 10.0
BACKLOG = 10_000


class Broadcast:
    """A queue of changes and one task that hands each to every observer.

    ``observers`` are (name, function) pairs, functions called with ``change=``. Each is isolated: what one raises
    or how long it takes (up to ``timeout_s``, if it is a coroutine function) is nobody else's business.
    """

    def __init__(
        self, observers: Sequence[tuple[str, Observer]], timeout_s: float = OBSERVER_TIMEOUT_S
    ) -> None:
        self._observers = list(observers)
        self._timeout_s = timeout_s
        self._changes: asyncio.Queue[JobChanged] = asyncio.Queue(BACKLOG)
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def start(self) -> None:
        if self._observers:
            self._task = asyncio.create_task(self._deliver(), name="broadcast")

    def publish(self, change: JobChanged) -> None:
        """Queue a change; when observers are hopelessly behind, it is dropped and counted in the log."""
        if self._task is None:
            return
        try:
            self._changes.put_nowait(change)
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped == 1 or self._dropped % BACKLOG == 0:
                log.warning("observers are too slow, changes dropped", dropped=self._dropped)

    async def close(self, drain_s: float = 1.0) -> None:
        """Give observers ``drain_s`` seconds for what is queued, then stop."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changes.join(), drain_s)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _deliver(self) -> None:
        while True:
            change = await self._changes.get()
            try:
                await asyncio.gather(
                    *(self._notify(name, observer, change) for name, observer in self._observers)
                )
            finally:
                self._changes.task_done()

    async def _notify(self, name: str, observer: Observer, change: JobChanged) -> None:
        try:
            answer = observer(change=change)
            if inspect.isawaitable(answer):
                await asyncio.wait_for(cast("Awaitable[None]", answer), self._timeout_s)
        except TimeoutError:
            log.warning("observer timed out", observer=name, timeout_s=self._timeout_s)
        except Exception as error:  # noqa: BLE001  a third party's code may raise anything
            log.warning("observer failed", observer=name, error=f"{type(error).__name__}: {error}")
