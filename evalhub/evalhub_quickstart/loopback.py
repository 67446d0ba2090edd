"""A threaded HTTP server on the loopback interface that closes all its connections and threads on exit."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
IDLE_S = 75

Request = socket.socket | tuple[bytes, socket.socket]  # socketserver's type, which covers UDP


class Handler(BaseHTTPRequestHandler):
    """Base of the request handlers: HTTP/1.1 with keep-alive, no access log, responses without delay."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    # Head and body leave in one segment; otherwise Nagle's algorithm and delayed acknowledgements add 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name in the base class
        """Write nothing."""

    def respond(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        """Send a complete response. Underscores in the names of ``headers`` become hyphens."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def respond_in_parts(self, content_type: str, parts: Iterable[bytes]) -> None:
        """Send a response with the status 200 in chunks, each as soon as it is available."""
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


class LoopbackServer:
    """Serves in background threads between ``__enter__`` and ``__exit__``.

    Exiting closes all connections, idle ones too, and returns when all threads have exited.
    """

    def __init__(self, handler: type[Handler], *, port: int = 0) -> None:
        """Port 0 selects a free port. Raises OSError if the port is in use."""
        self._server = _Server((HOST, port), handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="loopback-server"
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() joins the threads of the connections
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[Handler]) -> None:
        self._lock = threading.Lock()
        self._connections: set[Request] = set()
        super().__init__(address, handler)

    def process_request(self, request: Request, client_address: Any) -> None:
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Request) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """Close all connections, which wakes the threads that wait for another request."""
        with self._lock:
            for connection in self._connections:
                if not isinstance(connection, socket.socket):
                    continue
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # the peer has closed it

    def handle_error(self, request: Request, client_address: Any) -> None:
        """Write no traceback for a client that disconnects early."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)
