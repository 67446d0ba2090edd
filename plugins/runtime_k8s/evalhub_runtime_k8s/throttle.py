"""Order and rate of requests to the API server: slots with priorities, and pauses that a 429 requests."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from enum import IntEnum

import structlog

from evalhub_server.plugins import Backoff

log = structlog.get_logger()

MAX_CONCURRENT = 32
MAX_POLLS = 4
"""Concurrent lists of the reconciler: those of many namespaces are sent after one another, and leave room for other requests."""
UNSPECIFIED = Backoff(first_s=1.0, max_s=30.0, jitter=0.5)
"""Pauses after a 429 without Retry-After."""
LEAST = Backoff(first_s=0.05, max_s=1.0)
"""Pauses after a 429 that requests a shorter one, such as none."""
WARNING_INTERVAL_S = 60.0
"""Least time between two warnings about the same verb: under a limit, some requests are served and others refused."""
POLLED = "poll"
HEADERS = {
    "flow_schema": "X-Kubernetes-PF-FlowSchema-UID",
    "priority_level": "X-Kubernetes-PF-PriorityLevel-UID",
}
"""Headers with which API Priority and Fairness names the limit that a request has met."""


class Priority(IntEnum):
    """Requests of a lower number are sent first. ``POLL``: lists that are repeated anyway."""

    WORKLOAD = 0
    STATUS = 1
    POLL = 2


class Paused(Exception):
    """The API has requested a longer pause than the caller can wait; ``left_s`` is what is left of it."""

    def __init__(self, left_s: float) -> None:
        super().__init__(f"it limits requests and accepts the next one in {left_s:.0f} seconds")
        self.left_s = left_s


class _Slots:
    """A semaphore that serves waiters by priority, then in order of arrival."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    async def acquire(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Throttle:
    """What :meth:`slot` admits may be sent now.

    A 429 pauses its verb for exactly as long as the API requests. It also pauses polls: the API counts all requests of
    this server together, so without them the creations and deletions that were refused succeed sooner.
    """

    def __init__(self, max_concurrent: int = MAX_CONCURRENT, max_polls: int = MAX_POLLS) -> None:
        self._slots = _Slots(max_concurrent)
        self._polls = asyncio.Semaphore(max_polls)
        self._until_s: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        """Refusals in a row by verb."""
        self._silent_until_s: dict[str, float] = {}

    @asynccontextmanager
    async def slot(self, verb: str, priority: Priority, patience_s: float) -> AsyncGenerator[None]:
        """Wait until a request may be sent. Raises :class:`Paused` if a pause takes longer than ``patience_s``."""
        if priority is Priority.POLL:
            async with self._polls, self._slot(verb, priority, patience_s):
                yield
        else:
            async with self._slot(verb, priority, patience_s):
                yield

    @asynccontextmanager
    async def _slot(self, verb: str, priority: Priority, patience_s: float) -> AsyncGenerator[None]:
        until_s = time.monotonic() + patience_s
        while True:
            await self.resumed(verb, until_s - time.monotonic(), poll=priority is Priority.POLL)
            await self._slots.acquire(priority)
            if not self._left_s(verb, poll=priority is Priority.POLL):
                break
            self._slots.release()
        try:
            yield
        finally:
            self._slots.release()

    async def resumed(self, verb: str, patience_s: float, *, poll: bool = False) -> None:
        """Wait for the end of a pause. Raises :class:`Paused`."""
        until_s = time.monotonic() + patience_s
        while left_s := self._left_s(verb, poll=poll):
            if time.monotonic() + left_s > until_s:
                raise Paused(left_s)
            await asyncio.sleep(left_s)

    def pause(self, verb: str, retry_after_s: float | None, headers: Mapping[str, str]) -> None:
        """Record a 429 and the delay that it requests, None without one."""
        refusals = self._refusals[verb] = self._refusals.get(verb, 0) + 1
        if retry_after_s is None:
            delay_s = UNSPECIFIED.delay_s(refusals)
        else:
            delay_s = max(retry_after_s, LEAST.delay_s(refusals))
        now_s = time.monotonic()
        if now_s >= self._silent_until_s.get(verb, 0.0):
            self._silent_until_s[verb] = now_s + WARNING_INTERVAL_S
            limits = {name: headers[header] for name, header in HEADERS.items() if header in headers}
            log.warning(
                "The Kubernetes API limits requests", verb=verb, retry_after_s=round(delay_s, 1), **limits
            )
        for key in (verb, POLLED):
            self._until_s[key] = max(self._until_s.get(key, 0.0), now_s + delay_s)

    def accepted(self, verb: str) -> None:
        """Record that the API has served a request of this verb."""
        self._refusals.pop(verb, None)

    def _left_s(self, verb: str, *, poll: bool) -> float:
        keys = (verb, POLLED) if poll else (verb,)
        return max(0.0, *(self._until_s.get(key, 0.0) - time.monotonic() for key in keys))
