"""A real HTTP server in a thread of the test. It records requests; the test supplies the responses."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from harness.certificates import Certificate
from harness.running import Started
from harness.waiting import free_port, wait_until


class Request(NamedTuple):
    """One received request. ``path`` includes the query and is not decoded; names of ``headers`` match in any case.

    ``number`` counts from 0; ``client_port`` identifies the connection.
    """

    method: str
    path: str
    headers: Message
    body: bytes
    number: int
    client_port: int

    def header(self, name: str) -> list[str]:
        """All values of a header, which may repeat."""
        return self.headers.get_all(name, [])

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    """``body`` as bytes has a Content-Length; anything else is sent in chunks, each as soon as it is available."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()


Script = Callable[[Request], "Reply | None"]


class AnsweringServer(Started):
    """A context manager. ``answer`` returns the response to a request, or None to cut the connection.

    ``tls`` is the certificate, ``address`` where it listens. :meth:`stop` and :meth:`start` keep the port.
    """

    def __init__(
        self,
        answer: Script = lambda _: Reply(),
        *,
        port: int = 0,
        tls: Certificate | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.arrived: list[bytes] = []
        """Pieces of chunked request bodies, each as soon as it is there."""
        self.broken_off = threading.Event()
        """Set when a client went away before its answer was complete."""
        self.port = port or free_port()
        self.address = address
        self.host = f"{'localhost' if address == '127.0.0.1' else address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self._tls = tls
        self._counting = threading.Lock()
        self._http: _Server | None = None

    def start(self) -> None:
        self._http = _Server(self)
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="answering-server"
        )
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections until :meth:`start`, and cut those that are open. Idempotent."""
        if self._http is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http.end_connections()
            self._http = None

    def leave(self) -> None:
        self.stop()

    def reset(self, answer: Script) -> Self:
        """Clear the recorded requests and continue with another ``answer``."""
        self.answer = answer
        self.requests.clear()
        self.arrived.clear()
        self.broken_off.clear()
        return self

    def note(self, method: str, path: str, headers: Message, body: bytes, client_port: int) -> Request:
        """Record a request; called in the thread that answers it."""
        with self._counting:
            self.requests.append(Request(method, path, headers, body, len(self.requests), client_port))
            return self.requests[-1]

    def until(self, number: int, timeout_s: float = 30.0) -> list[Request]:
        """Wait for ``number`` requests; returns all."""
        wait_until(lambda: len(self.requests) >= number, f"{number} requests", timeout_s)
        return self.requests


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a test may end while an answer that it holds back is still due

    def __init__(self, owner: AnsweringServer) -> None:
        self.owner = owner
        self.connections: set[socket.socket] = set()
        super().__init__((owner.address, owner.port), _Handler)

    def end_connections(self) -> None:
        for connection in list(self.connections):
            with suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors other than disconnects of clients, which some tests cause."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave in one segment; otherwise Nagle's algorithm and delayed acknowledgements add 40 ms.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def parse_request(self) -> bool:
        if super().parse_request():
            self._serve()
        return False  # it is answered already, whatever the method

    def _serve(self) -> None:
        owner = self.server.owner
        request = owner.note(self.command, self.path, self.headers, self._body(), self.client_address[1])
        reply = owner.answer(request)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items() if isinstance(reply.headers, Mapping) else reply.headers:
            self.send_header(name, value)
        try:
            if isinstance(reply.body, bytes):
                self._send(reply.status, reply.body)
            else:
                self._stream(reply.body)
            self.wfile.flush()
        except OSError:
            owner.broken_off.set()
            self.close_connection = True

    def _send(self, status: int, body: bytes) -> None:
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, chunks: Iterable[bytes]) -> None:
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.server.owner.arrived.append(pieces[-1])
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in the standard library
        pass
