"""A small real reverse proxy that serves another server under a path prefix."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.proxy import HOP_BY_HOP
from harness.running import Started


class ReverseProxy(Started):
    """A context manager. Requests outside of ``prefix`` are answered with 404.

    ``strips``: it removes the prefix from the path of a request. ``names``: it sends ``X-Forwarded-Prefix``.
    """

    def __init__(self, upstream_port: int, prefix: str, *, strips: bool, names: bool = False) -> None:
        self._upstream_port = upstream_port
        self._prefix = prefix
        self._strips = strips
        self._names = names
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy.forward(self)

            def do_POST(self) -> None:
                proxy.forward(self)

            def do_DELETE(self) -> None:
                proxy.forward(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  named by the base class
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """Forward the request and its response."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if not request.path.startswith(f"{self._prefix}/"):
            self._respond(request, 404, {}, b"outside of the prefix")
            return
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        if self._names:
            headers["X-Forwarded-Prefix"] = self._prefix
        path = request.path.removeprefix(self._prefix) if self._strips else request.path
        connection = http.client.HTTPConnection("127.0.0.1", self._upstream_port, timeout=60)
        connection.request(request.command, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        kept = {n: v for n, v in answer.getheaders() if n.lower() not in HOP_BY_HOP | {"content-length"}}
        self._respond(request, answer.status, kept, content)

    def _respond(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], content: bytes
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if status != 204:
            request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)
