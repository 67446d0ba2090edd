"""uvicorn's HTTP/1.1, with what it lacks: an answer in one packet, trailers, the host of a target in absolute form.

uvicorn writes head and body of an answer apart, which costs a second system call and a second packet for every
request; here they leave together. Trailers are the fields after the last chunk of a chunked answer (RFC 9112 section
7.1.2), which the contract has on log streams; they are offered as the ASGI extension ``http.response.trailers``. A
target such as ``http://host/path`` names the host instead of the header ``Host`` (section 3.2.2 there), which the checks
behind it rely on.
"""

from __future__ import annotations

import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

EXTENSION = "http.response.trailers"
_EXTENSIONS: dict[str, dict[object, object]] = {EXTENSION: {}}
_LAST_CHUNK = b"0\r\n\r\n"
_AUTHORITY = re.compile(rb"[^:/?#]+://([^/?#]*)")


class Protocol(HttpToolsProtocol):
    """Gives every request a :class:`Cycle`."""

    def on_headers_complete(self) -> None:
        absolute = None if self.url.startswith(b"/") else _AUTHORITY.match(self.url)
        if absolute:
            self.headers[:] = [(b"host", absolute[1]), *(f for f in self.headers if f[0] != b"host")]
        super().on_headers_complete()
        # uvicorn has no seam for the class of its cycles. The cycle's task has not started yet.
        if self.cycle is None:  # pyright: ignore[reportUnnecessaryComparison]  an upgrade
            return
        self.cycle.__class__ = Cycle
        self.cycle.scope["extensions"] = _EXTENSIONS  # pyright: ignore[reportGeneralTypeIssues]


class Cycle(RequestResponseCycle):
    """Holds the head back until the body comes, and the end of the body until promised trailers come."""

    head: Any = None
    promised = False

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            # A second one is uvicorn's own 500, for an application that failed between head and body.
            self.head = message
            self.promised = bool(message.get("trailers"))
            return
        if kind == EXTENSION:
            fields = b"".join(b"%s: %s\r\n" % field for field in message["headers"])
            await self._together(fields, {"type": "http.response.body", "body": b"", "more_body": False})
            return
        if self.promised and not message.get("more_body"):
            message = {**message, "more_body": True}
        if self.head is None:
            await super().send(message)
        else:
            head, self.head = self.head, None
            await self._together(b"", head, message)

    async def _together(self, trailers: bytes, *messages: Any) -> None:
        """Let uvicorn write ``messages``, and send what it wrote in one piece, ``trailers`` after the last chunk."""
        transport = self.transport
        held = _Held()
        self.transport = held  # pyright: ignore[reportAttributeAccessIssue]  what uvicorn uses of a transport
        try:
            for message in messages:
                await super().send(message)
        finally:
            self.transport = transport
        data = b"".join(held.pieces)
        if trailers and data.endswith(_LAST_CHUNK):
            data = data[: -len(b"\r\n")] + trailers + b"\r\n"
        if data:
            transport.write(data)
        if held.closed:
            transport.close()


class _Held:
    """As much of a transport as uvicorn's cycle uses for sending."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True
