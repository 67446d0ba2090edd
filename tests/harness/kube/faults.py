"""What can go wrong between a client and the API server, on request of a test."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from typing import NamedTuple

from harness.kube import problems


class Call(NamedTuple):
    """One request. ``verb`` is RBAC's: get, list, watch, create, update, patch, delete, deletecollection."""

    verb: str
    resource: str
    namespace: str
    name: str
    query: dict[str, str]
    body: object
    at_s: float
    """When it arrived, on the monotonic clock."""

    @property
    def short(self) -> str:
        return f"{self.verb} {self.resource}"


class Fault:
    """Hits the next ``times`` calls of a verb and resource (``*`` is any), before or after they take effect."""

    def __init__(
        self,
        verb: str = "*",
        resource: str = "*",
        *,
        times: int = 1,
        status: int = 0,
        message: str = "injected",
        reason: str = "InternalError",
        retry_after_s: int | None = None,
        drop: bool = False,
        after: bool = False,
    ) -> None:
        self._verb = verb
        self._resource = resource
        self._left = times
        self._status = status
        self._message = message
        self._reason = reason
        self._retry_after_s = retry_after_s
        self._drop = drop
        self._after = after
        self.hits = 0

    def matches(self, call: Call, *, after: bool) -> bool:
        return (
            self._left > 0
            and self._after is after
            and self._verb in ("*", call.verb)
            and self._resource in ("*", call.resource)
        )

    async def strike(self) -> None:
        """Raises :class:`Refused`, or :class:`Dropped` for a connection that is to be cut."""
        self._left -= 1
        self.hits += 1
        if self._drop:
            raise Dropped
        if self._status:
            headers = {} if self._retry_after_s is None else {"Retry-After": str(self._retry_after_s)}
            raise problems.Refused(self._status, self._reason, self._message, headers=headers)


class Hold(Fault):
    """Keeps calls waiting until a test lets them go. Use ``reached`` and ``release`` from any thread."""

    def __init__(self, verb: str, resource: str, *, after: bool = False, times: int = 1) -> None:
        super().__init__(verb, resource, times=times, after=after)
        self._reached = threading.Event()
        self._open = threading.Event()

    def reached(self, timeout_s: float = 30.0) -> None:
        """Return when a call waits here."""
        assert self._reached.wait(timeout_s), f"no call came: {self._verb} {self._resource}"

    @property
    def waiting(self) -> bool:
        return self._reached.is_set()

    def release(self) -> None:
        self._open.set()

    async def strike(self) -> None:
        await super().strike()
        self._reached.set()
        while not self._open.is_set():
            await asyncio.sleep(0.01)


class RateLimit(Fault):
    """API Priority and Fairness under load: serves ``per_s`` requests per second and refuses the others with 429."""

    def __init__(self, per_s: int, *, retry_after_s: int = 1) -> None:
        text = "too many requests, please try again later"
        super().__init__(
            times=sys.maxsize, status=429, reason="TooManyRequests", message=text, retry_after_s=retry_after_s
        )
        self._per_s = per_s
        self._served: deque[float] = deque()

    def matches(self, call: Call, *, after: bool) -> bool:
        if after:
            return False
        while self._served and self._served[0] <= call.at_s - 1:
            self._served.popleft()
        if len(self._served) >= self._per_s:
            return True
        self._served.append(call.at_s)
        return False


class Dropped(Exception):
    """The connection is to be cut without an answer."""


class Faults:
    """All that is injected now."""

    def __init__(self) -> None:
        self.outage = False
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()
        self.outage = False

    async def strike(self, call: Call, *, after: bool = False) -> None:
        if self.outage:
            raise Dropped
        for fault in self._faults:
            if fault.matches(call, after=after):
                await fault.strike()
        if self.outage:
            raise Dropped
