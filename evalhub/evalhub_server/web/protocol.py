"""uvicorn's HTTP/1.1 with trailers, which the contract has on log streams and uvicorn does not know.

Trailers are the fields after the last chunk of a chunked answer (RFC 9112 section 7.1.2). Here they are offered as
the ASGI extension ``http.response.trailers``.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.trailers"
LOGS = "/logs"
_LAST_CHUNK = b"0\r\n\r\n"


class TrailerProtocol(HttpToolsProtocol):
    """Gives the requests for logs, the only ones whose answers have trailers, a cycle that can send them."""

    def on_headers_complete(self) -> None:
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
