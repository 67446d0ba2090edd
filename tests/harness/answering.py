"""A real HTTP server in a thread of the test, which remembers what it was asked and answers as the test says."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from harness.running import Started
from harness.waiting import wait_until


class Request(NamedTuple):
    """One request. Names of ``headers`` are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""


class AnsweringServer(Started):
    """A context manager. The port stays over :meth:`stop` and :meth:`start`; ``tls`` is a certificate and its key."""

    def __init__(self, answer: Callable[[Request], Reply], *, tls: tuple[Path, Path] | None = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.port = 0
        self._tls = tls
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def start(self) -> None:
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._tls)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.port = self._http.server_port
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name="answering-server"
        )
        self._thread.start()

    def stop(self) -> None:
        """Be unreachable, until :meth:`start`. Idempotent."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http = None

    def leave(self) -> None:
        self.stop()

    def until(self, number: int, timeout_s: float = 30.0) -> list[Request]:
        """All requests, once there are ``number``."""
        wait_until(lambda: len(self.requests) >= number, f"{number} requests", timeout_s)
        return self.requests


def _handler(server: AnsweringServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            self._serve()
            return False  # it is answered already, whatever the method

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            server.requests.append(request)
            reply = server.answer(request)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(ConnectionError):  # whoever asked has given up
                    self.wfile.write(reply.body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
