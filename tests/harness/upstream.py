"""A real HTTP server on a thread, standing for whatever a program under test talks to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.waiting import wait_until


class Received(NamedTuple):
    """One request as it came; ``path`` has the query and is not decoded, headers may repeat."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """``body`` as bytes has a Content-Length; anything else is sent in chunks, each as soon as it is there."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()


Script = Callable[[Received], "Reply | None"]


class Upstream:
    """A context manager. ``script`` answers each request; None breaks the connection."""

    def __init__(
        self, script: Script = lambda _: Reply(), *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.script = script
        self.received: list[Received] = []
        self.arrived: list[bytes] = []
        """Pieces of chunked request bodies, each as soon as it is there."""
        self.broken_off = threading.Event()
        """Set when a client went away before its answer was complete."""
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.upstream = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_port
        self.url = f"{'http' if tls is None else 'https'}://localhost:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="upstream")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """From now on connections are refused."""
        self._server.shutdown()
        self._thread.join()
        self.close()

    def close(self) -> None:
        """Let go of the port; alone for a server that was never entered."""
        self._server.server_close()

    def anew(self, script: Script) -> Self:
        """Forget everything and go on with another script."""
        self.script = script
        self.received.clear()
        self.arrived.clear()
        self.broken_off.clear()
        return self

    def wait_for(self, count: int) -> list[Received]:
        """What has been received, once it is ``count`` requests."""
        wait_until(lambda: len(self.received) >= count, f"{count} requests; there are {len(self.received)}")
        return self.received

    @property
    def events(self) -> list[dict[str, Any]]:
        """The benchmark events among the requests."""
        return [r.json["benchmark_status_event"] for r in self.received if r.path.endswith("/events")]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    upstream: Upstream

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self) -> None:
        upstream = self.server.upstream
        received = Received(self.command, self.path, list(self.headers.items()), self._body())
        upstream.received.append(received)
        reply = upstream.script(received)
        if reply is None:
            self.close_connection = True
            return
        headers = list(reply.headers.items() if isinstance(reply.headers, Mapping) else reply.headers)
        self.send_response(reply.status)
        for name, value in headers:
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            if reply.status not in (204, 304):
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for chunk in reply.body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            upstream.broken_off.set()
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.server.upstream.arrived.append(pieces[-1])
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the standard library
        pass
