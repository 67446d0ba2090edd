"""A reverse proxy that keeps chosen requests waiting, before or after they take effect."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Mapping
from contextlib import closing

from harness.answering import AnsweringServer, Reply, Request
from harness.proxy import HOP_BY_HOP
from harness.waiting import wait_until

HOLD_S = 120.0
NO_HEADERS: Mapping[str, str] = {}


class Held:
    """One request that is kept waiting: the next one of ``method`` whose path contains ``path``."""

    def __init__(self, method: str, path: str, *, after: bool) -> None:
        self.after = after
        self._method = method
        self._path = path
        self._reached = threading.Event()
        self._released = threading.Event()
        self._done = threading.Event()

    def matches(self, request: Request) -> bool:
        return request.method == self._method and self._path in request.path.partition("?")[0]

    def reached(self) -> None:
        """Wait until the request is held."""
        wait_until(self._reached.is_set, f"{self._method} …{self._path}", 60)

    def release(self) -> None:
        """Let the request continue, whether or not its client still waits, and return when it has taken effect."""
        self._released.set()
        wait_until(self._done.is_set, f"the effect of {self._method} …{self._path}")

    def wait(self) -> None:
        """Called in the thread of the request."""
        self._reached.set()
        self._released.wait(HOLD_S)

    def done(self) -> None:
        self._done.set()


class HoldingProxy(AnsweringServer):
    """A context manager that forwards every request to a loopback port."""

    def __init__(self, upstream_port: int, address: str = "127.0.0.1") -> None:
        super().__init__(self._answer, address=address)
        self._upstream_port = upstream_port
        self._holds: list[Held] = []
        self._lock = threading.Lock()

    def hold(self, method: str, path: str, *, after: bool) -> Held:
        """Keep the next request of ``method`` whose path contains ``path``: before it is forwarded, or its answer."""
        held = Held(method, path, after=after)
        with self._lock:
            self._holds.append(held)
        return held

    def _answer(self, request: Request) -> Reply:
        held = self._taken(request)
        if held is None:
            return forwarded(request, self._upstream_port, request.path)
        if not held.after:
            held.wait()
        try:
            reply = forwarded(request, self._upstream_port, request.path)
        finally:
            if held.after:
                held.wait()
            held.done()
        return reply

    def _taken(self, request: Request) -> Held | None:
        with self._lock:
            held = next((each for each in self._holds if each.matches(request)), None)
            if held is not None:
                self._holds.remove(held)
            return held


def forwarded(request: Request, port: int, path: str, extra: Mapping[str, str] = NO_HEADERS) -> Reply:
    """The answer of the server at a loopback port; ``extra`` are headers to add."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(request.method, path, request.body, {**headers, **extra})
        answer = connection.getresponse()
        content = answer.read()
    ours = HOP_BY_HOP | {"content-length"}
    kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in ours]
    return Reply(answer.status, content, kept)
