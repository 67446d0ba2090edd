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
    """Hands each change to every observer, each through a queue and a task of its own.

    ``observers`` are (name, function) pairs, functions called with ``change=``. What one raises, or how long it takes
    (up to ``timeout_s`` for a change, if it is a coroutine function), is nobody else's business.
    """

    def __init__(
        self, observers: Sequence[tuple[str, Observer]], timeout_s: float = OBSERVER_TIMEOUT_S
    ) -> None:
        self._listeners = [_Listener(name, observer, timeout_s) for name, observer in observers]

    def start(self) -> None:
        for listener in self._listeners:
            listener.start()

    def publish(self, change: JobChanged) -> None:
        for listener in self._listeners:
            listener.put(change)

    async def close(self, drain_s: float = 0.3) -> None:
        """Give observers ``drain_s`` seconds for what is queued, then stop."""
        await asyncio.gather(*(listener.close(drain_s) for listener in self._listeners))


class _Listener:
    """One observer with what it has still to hear."""

    def __init__(self, name: str, observer: Observer, timeout_s: float) -> None:
        self._name = name
        self._observer = observer
        self._timeout_s = timeout_s
        self._changes: asyncio.Queue[JobChanged] = asyncio.Queue(BACKLOG)
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._deliver(), name=f"observer-{self._name}")

    def put(self, change: JobChanged) -> None:
        """Queue a change; if this observer is hopelessly behind, it is dropped and counted in the log."""
        try:
            self._changes.put_nowait(change)
        except asyncio.QueueFull:
            self._dropped += 1
            if self._dropped == 1 or self._dropped % BACKLOG == 0:
                log.warning(
                    "observer is too slow, changes dropped", observer=self._name, dropped=self._dropped
                )

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
            answer = self._observer(change=change)
            if inspect.isawaitable(answer):
                await asyncio.wait_for(cast("Awaitable[None]", answer), self._timeout_s)
        except TimeoutError:
            log.warning("observer timed out", observer=self._name, timeout_s=self._timeout_s)
        except asyncio.CancelledError:
            if self._task is None or self._task.cancelling():
                raise
            log.warning("observer failed", observer=self._name, error="it was cancelled")
        except Exception as error:  # noqa: BLE001  a third party's code may raise anything
            log.warning("observer failed", observer=self._name, error=f"{type(error).__name__}: {error}")
