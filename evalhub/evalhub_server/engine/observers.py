"""Delivery of committed job changes to observers, in commit order and in the background."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import structlog

from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.hookspecs import JobChanged

log = structlog.get_logger()

Observer = Callable[..., Any]
OBSERVER_TIMEOUT_S = 10.0
BACKLOG = 10_000


class ObserverDispatcher:
    """Delivers each change to every observer, through a queue and a task per observer.

    ``observers`` are (name, function) pairs; the function is called with ``change=`` and may be a coroutine function,
    which has ``timeout_s`` for each change. Errors and delays of one observer affect neither jobs nor other observers.
    Changes are delivered from :meth:`start` to :meth:`close`; it can be started again.
    """

    def __init__(
        self, observers: Sequence[tuple[str, Observer]], timeout_s: float = OBSERVER_TIMEOUT_S
    ) -> None:
        self._queues = [_ObserverQueue(name, observer, timeout_s) for name, observer in observers]

    def start(self) -> None:
        for queue in self._queues:
            queue.start()

    def publish(self, change: JobChanged) -> None:
        for queue in self._queues:
            queue.put(change)

    async def close(self, drain_s: float = 0.3) -> None:
        """Give observers ``drain_s`` seconds for queued changes, then stop."""
        await asyncio.gather(*(queue.close(drain_s) for queue in self._queues))


class _ObserverQueue:
    """One observer with the changes that are to be delivered to it."""

    def __init__(self, name: str, observer: Observer, timeout_s: float) -> None:
        self._name = name
        self._observer = observer
        self._timeout_s = timeout_s
        self._changes: asyncio.Queue[JobChanged] = asyncio.Queue(BACKLOG)
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def start(self) -> None:
        self._changes = asyncio.Queue(BACKLOG)
        self._task = asyncio.create_task(self._deliver(), name=f"observer-{self._name}")

    def put(self, change: JobChanged) -> None:
        """Queue a change; drop and log it if the queue is full."""
        if self._task is None:
            return
        try:
            self._changes.put_nowait(change)
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped == 1 or self._dropped % BACKLOG == 0:
                log.warning("Observer too slow, changes dropped", observer=self._name, dropped=self._dropped)

    async def close(self, drain_s: float) -> None:
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changes.join(), drain_s)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _deliver(self) -> None:
        while True:
            change = await self._changes.get()
            try:
                await self._notify(change)
            finally:
                self._changes.task_done()

    async def _notify(self, change: JobChanged) -> None:
        try:
            result = self._observer(change=change)
            if inspect.isawaitable(result):
                await asyncio.wait_for(cast("Awaitable[None]", result), self._timeout_s)
        except TimeoutError:
            log.warning("Observer timed out", observer=self._name, timeout_s=self._timeout_s)
        except asyncio.CancelledError:
            if self._task is None or self._task.cancelling():
                raise
            log.warning("Observer failed", observer=self._name, error="it was cancelled")
        except Exception as error:  # noqa: BLE001  a third party's code may raise anything
            text = f"{type(error).__name__}: {error}"
            log.warning("Observer failed", observer=self._name, error=text, **call_fields(error))
