"""Delivery of committed job changes to observers, in commit order and in the background."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.engine.metric_family import CounterValue, MetricFamily
from evalhub_server.plugins.calls import call_fields

log = structlog.get_logger()

Observe = Callable[[JobChanged], Awaitable[None] | None]
OBSERVER_TIMEOUT_S = 10.0
BACKLOG = 10_000
DRAIN_S = 0.3
"""How long a server that stops waits for queued changes."""


class ObserverDispatcher:
    """Delivers each change to every observer, through a queue and a task per observer.

    ``observers`` are (name, function) pairs; the function may be a coroutine function, which has ``timeout_s`` for each change.
    ``missed`` counts changes that an observer did not receive, or did not complete. Errors and delays of one observer affect neither jobs nor other observers.
    Changes are delivered from :meth:`start` to :meth:`close`; it can be started again.
    """

    def __init__(
        self, observers: Sequence[tuple[str, Observe]], timeout_s: float = OBSERVER_TIMEOUT_S
    ) -> None:
        self.missed = MetricFamily(
            "evalhub_observer_missed_changes_total",
            "Changes of jobs that an observer missed: its queue was full, or it failed or timed out.",
            ("observer", "reason"),
            CounterValue,
        )
        self._queues = [
            _ObserverQueue(name, observer, timeout_s, partial(self._miss, name))
            for name, observer in observers
        ]

    def _miss(self, name: str, reason: str) -> None:
        self.missed.labels(name, reason).inc()

    def start(self) -> None:
        for queue in self._queues:
            queue.start()

    def publish(self, change: JobChanged) -> None:
        for queue in self._queues:
            queue.put(change)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Give observers ``drain_s`` seconds for queued changes, then stop."""
        await asyncio.gather(*(queue.close(drain_s) for queue in self._queues))


class _ObserverQueue:
    """One observer with the changes that are to be delivered to it."""

    def __init__(self, name: str, observer: Observe, timeout_s: float, miss: Callable[[str], None]) -> None:
        self._name = name
        self._observer = observer
        self._timeout_s = timeout_s
        self._miss = miss
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
            self._miss("queue_full")
            self._dropped += 1
            if self._dropped == 1 or self._dropped % BACKLOG == 0:
                log.warning("Observer too slow, changes dropped", observer=self._name, dropped=self._dropped)

    async def close(self, drain_s: float) -> None:
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._changes.join()
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
            result = self._observer(change)
            if inspect.isawaitable(result):
                async with asyncio.timeout(self._timeout_s):
                    await result
        except TimeoutError:
            self._miss("timeout")
            log.warning("Observer timed out", observer=self._name, timeout_s=self._timeout_s)
        except asyncio.CancelledError:
            if self._task is None or self._task.cancelling():
                raise
            self._miss("failed")
            log.warning("Observer failed", observer=self._name, error="it was cancelled")
        except Exception as error:  # noqa: BLE001  a third party's code may raise anything
            self._miss("failed")
            text = f"{type(error).__name__}: {error}"
            log.warning("Observer failed", observer=self._name, error=text, **call_fields(error))
