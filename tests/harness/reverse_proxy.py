"""A small real reverse proxy that serves another server under a path prefix."""

from __future__ import annotations

from harness.answering import AnsweringServer, Reply, Request
from harness.holding_proxy import forwarded


class ReverseProxy(AnsweringServer):
    """A context manager. Requests outside of ``prefix`` are answered with 404.

    ``strips``: it removes the prefix from the path of a request. ``names``: it sends ``X-Forwarded-Prefix``.
    """

    def __init__(self, upstream_port: int, prefix: str, *, strips: bool, names: bool = False) -> None:
        super().__init__(self._forward)
        self._upstream_port = upstream_port
        self._prefix = prefix
        self._strips = strips
        self._names = names

    def _forward(self, request: Request) -> Reply:
        if not request.path.startswith(f"{self._prefix}/"):
            return Reply(404, b"outside of the prefix")
        extra = {"X-Forwarded-Prefix": self._prefix} if self._names else {}
        path = request.path.removeprefix(self._prefix) if self._strips else request.path
        return forwarded(request, self._upstream_port, path, extra)
