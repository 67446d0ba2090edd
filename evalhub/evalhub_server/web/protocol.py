"""uvicorn's HTTP/1.1 with trailers, which the contract has on log streams and uvicorn does not know.

Trailers are the fields after the last chunk of a chunked answer (RFC 9112 section 7.1.2). Here they are offered as
the ASGI extension ``http.response.trailers``.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from evalhub_server.domain import problems
from evalhub_server.web.responses import error_body

EXTENSION = "http.response.trailers"
LOGS = "/logs"
HEAD_LIMIT_BYTES = 1024 * 1024
_TOO_LARGE = error_body(problems.head_too_large(HEAD_LIMIT_BYTES), "")
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_TOO_LARGE), _TOO_LARGE)
)
_LAST_CHUNK = b"0\r\n\r\n"


class TrailerProtocol(HttpToolsProtocol):
    """Gives the requests for logs, the only ones whose answers have trailers, a cycle that can send them.

    Also closes two gaps of uvicorn's: a head may not grow without end, and the host that a request target in absolute
    form names replaces the header ``Host`` (RFC 9112 section 3.2.2).
    """

    _head_bytes = 0

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: Any = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            return  # the head was complete
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            if cycle is None or cycle.response_complete:
                self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if not self.url.startswith(b"/") and b"://" in self.url:
            authority = re.split(rb"[/?#]", self.url.partition(b"://")[2], maxsplit=1)[0]
            self.headers[:] = [
                (b"host", authority),
                *(field for field in self.headers if field[0] != b"host"),
            ]
        super().on_headers_complete()
        # uvicorn has no seam for the class of its cycles. The cycle's task has not started yet.
        if self.scope["path"].endswith(LOGS):
            self.cycle.__class__ = TrailerCycle
            self.cycle.scope["extensions"] = {EXTENSION: {}}  # pyright: ignore[reportGeneralTypeIssues]


class TrailerCycle(RequestResponseCycle):
    """Holds the end of an answer that has promised trailers back until they come."""

    promised = False

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.promised = bool(message.get("trailers"))
        elif message["type"] == EXTENSION:
            fields = b"".join(b"%s: %s\r\n" % field for field in message["headers"])
            self.transport, transport = _AfterLastChunk(self.transport, fields), self.transport  # pyright: ignore[reportAttributeAccessIssue]
            try:
                await super().send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                self.transport = transport
            return
        elif self.promised and not message.get("more_body"):
            message = {**message, "more_body": True}
        await super().send(message)


class _AfterLastChunk:
    """A transport that writes ``fields`` into the end of the chunked body."""

    def __init__(self, transport: Any, fields: bytes) -> None:
        self._transport = transport
        self._fields = fields

    def write(self, data: bytes) -> None:
        if data.endswith(_LAST_CHUNK):
            data = data[: -len(b"\r\n")] + self._fields + b"\r\n"
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
