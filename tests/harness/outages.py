"""A server with outages: a real reverse proxy that can stop forwarding requests."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from harness.answering import Reply, Request
from harness.reverse_proxy import ReverseProxy


class Switchable(ReverseProxy):
    """A context manager. Forwards requests to the server at ``upstream_port``, except within :meth:`answering`."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__(upstream_port, "", strips=False)
        self._reply: Reply | None = None

    @contextmanager
    def answering(self, status: int) -> Generator[None]:
        """Answer every request with a status of its own."""
        self._reply = Reply(status, b"{}")
        try:
            yield
        finally:
            self._reply = None

    def _forward(self, request: Request) -> Reply:
        return self._reply or super()._forward(request)
