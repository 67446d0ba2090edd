"""A real HTTP endpoint for webhooks, which remembers what it got."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.waiting import wait_until


class Received(NamedTuple):
    """One request. ``headers`` are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A context manager. It answers with :attr:`status` (and :attr:`location`); the port stays over :meth:`stop`."""

    def __init__(self, port: int = 0) -> None:
        self.status = 204
        self.location = ""
        self.requests: list[Received] = []
        self.port = port
        self._http: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Received(self.path, headers, body))
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="receiver")
        self._thread.start()

    def stop(self) -> None:
        """Be unreachable, until :meth:`start`. Idempotent."""
        if self._http is not None and self._thread is not None:
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()
            self._http = None

    def until(self, number: int, timeout_s: float = 30.0) -> list[Received]:
        """All requests, once there are ``number``."""
        wait_until(lambda: len(self.requests) >= number, f"{number} requests", timeout_s)
        return self.requests
