"""A small real HTTP proxy: absolute addresses, tunnels (CONNECT) and optionally a password."""

from __future__ import annotations

import base64
import http.client
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from harness.running import Started

HOP_BY_HOP = {"connection", "proxy-connection", "proxy-authorization", "transfer-encoding", "keep-alive"}


class RunningProxy(Started):
    """A context manager. It resolves only the hosts in ``ports``, all to this computer.

    ``requests`` are recorded as ``CONNECT host:port`` or ``METHOD http://…``. With ``login``, such as
    ``user:password``, it refuses clients without it.
    """

    def __init__(self, ports: Mapping[str, int], login: str = "") -> None:
        self.ports = dict(ports)
        self.requests: list[str] = []
        self._login = base64.b64encode(login.encode()).decode() if login else ""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                proxy.tunnel(self)

            def do_GET(self) -> None:
                proxy.forward(self)

            def do_POST(self) -> None:
                proxy.forward(self)

            def do_HEAD(self) -> None:
                proxy.forward(self)

            def do_PATCH(self) -> None:
                proxy.forward(self)

            def do_PUT(self) -> None:
                proxy.forward(self)

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, login: str = "") -> dict[str, str]:
        """Variables of a program that uses the proxy; in lower case, which takes precedence where both are set."""
        url = f"http://{login}@127.0.0.1:{self.port}" if login else self.url
        return {"http_proxy": url, "https_proxy": url, "no_proxy": ""}

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def tunnel(self, request: BaseHTTPRequestHandler) -> None:
        """Forward bytes in both directions until one side closes."""
        port = self._admit(request, request.path, request.path.rpartition(":")[0])
        request.close_connection = True
        if port is None:
            return
        with socket.create_connection(("127.0.0.1", port)) as other:
            request.send_response(200)
            request.end_headers()
            back = threading.Thread(target=_pass_on, args=(other, request.connection), daemon=True)
            back.start()
            _pass_on(request.connection, other)
            back.join(30)

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """Forward the request and its response."""
        parts = urlsplit(request.path)
        port = self._admit(request, request.path, parts.hostname or "")
        if port is None:
            return
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request(request.command, f"{parts.path}?{parts.query}".rstrip("?"), body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP_BY_HOP | {"content-length"}:
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)

    def _admit(self, request: BaseHTTPRequestHandler, target: str, host: str) -> int | None:
        """The upstream port; None if the refusal was sent."""
        if self._login and request.headers.get("Proxy-Authorization") != f"Basic {self._login}":
            self._refuse(request, 407, "Proxy-Authenticate", "Basic")
            return None
        self.requests.append(f"{request.command} {target}")
        if host not in self.ports:
            self._refuse(request, 502)
            return None
        return self.ports[host]

    def _refuse(self, request: BaseHTTPRequestHandler, status: int, *header: str) -> None:
        request.close_connection = True
        request.send_response(status)
        if header:
            request.send_header(*header)
        request.send_header("Content-Length", "0")
        request.end_headers()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
