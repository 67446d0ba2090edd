"""A small real reverse proxy that serves another server under a path prefix."""

from __future__ import annotations

import http.client
from contextlib import closing

from harness.answering import AnsweringServer, Reply, Request
from harness.proxy import HOP_BY_HOP


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
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        if self._names:
            headers["X-Forwarded-Prefix"] = self._prefix
        path = request.path.removeprefix(self._prefix) if self._strips else request.path
        with closing(http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=60)) as connection:
            connection.request(request.method, path, request.body, headers)
            answer = connection.getresponse()
            content = answer.read()
        ours = HOP_BY_HOP | {"content-length"}
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in ours]
        return Reply(answer.status, content, kept)
