"""uvicorn's HTTP/1.1, with what it lacks: an answer in one packet, trailers, the host of a target in absolute form.

uvicorn writes head and body of an answer apart, which costs a second system call and a second packet for every
request; here they leave together. Trailers are the fields after the last chunk of a chunked answer (RFC 9112 section
7.1.2), which the contract has on log streams; they are offered as the ASGI extension ``http.response.trailers``. A
target such as ``http://host/path`` names the host instead of the header ``Host`` (section 3.2.2 there), which the checks
behind it rely on.
"""

from __future__ import annotations

import asyncio
import re
import sys
from enum import Enum, auto
from functools import partial
from typing import Any

import httptools
from msgspec import Struct
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


_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ")
_KNOWN_AND_NEVER_ALLOWED = b"TRACE"


class Limits(Struct, kw_only=True, frozen=True):
    """Seconds of 0 are no limit.

    ``head_timeout_s`` is from the connection, or the first byte of a later request, to the end of the head;
    ``body_timeout_s`` from there to the end of the body. ``head_bytes`` counts the request line, too.
    """

    head_timeout_s: float
    body_timeout_s: float
    head_bytes: int


class _Waiting(Enum):
    """For what of a request."""

    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


def limited_protocol(limits: Limits) -> Any:
    """What uvicorn makes for each connection."""
    return partial(LimitedProtocol, limits=limits)


class LimitedProtocol(Protocol):
    """Answers 408 or 431 and closes the connection.

    Requests that come in one piece, which nearly all do, cost no timer.
    """

    def __init__(self, *arguments: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._waiting = _Waiting.HEAD
        self._timer: asyncio.TimerHandle | None = None
        self._piece_bytes = 0
        self._head_bytes = 0  # of the pieces before this one
        self._too_large = False
        self._first_piece = b""  # of a request, while it is parsed
        self._invented_method = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._piece_bytes = len(data)
        begins = self._waiting is _Waiting.NOTHING or (
            self._waiting is _Waiting.HEAD and not self._head_bytes
        )
        self._first_piece = data if begins else b""
        super().data_received(data)
        if self._waiting is _Waiting.NOTHING or self.transport.is_closing():
            return
        if self._waiting is _Waiting.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and self._idle:
                self._refuse("431 Request Header Fields Too Large")
                return
        if self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        self._waiting = _Waiting.HEAD
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        if self._head_bytes + self._piece_bytes > self._limits.head_bytes:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > self._limits.head_bytes:
                self._too_large = True
                raise ValueError("head too large")  # the parser stops, and send_400_response is called
        self._waiting = _Waiting.BODY
        super().on_headers_complete()
        if self._invented_method:
            self.scope["method"] = self._invented_method
            self._invented_method = ""

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._waiting = _Waiting.NOTHING
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._stop_timer()
        if self._too_large:
            self._refuse("431 Request Header Fields Too Large")
        elif isinstance(sys.exception(), httptools.HttpParserInvalidMethodError) and self._idle:
            self._parse_as_known_method(msg)
        else:
            super().send_400_response(msg)

    def _parse_as_known_method(self, msg: str) -> None:
        """Begin this request again under another method's name; :meth:`on_headers_complete` puts its own back."""
        method = _METHOD.match(self._first_piece)
        if method is None:
            super().send_400_response(msg)
            return
        self._invented_method = method[1].decode("ascii")
        self.parser = httptools.HttpRequestParser(self)
        super().data_received(_KNOWN_AND_NEVER_ALLOWED + self._first_piece[method.end(1) :])

    @property
    def _idle(self) -> bool:
        """Is no earlier answer on its way, into which another would be written?"""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _start_timer(self) -> None:
        head = self._waiting is _Waiting.HEAD
        seconds = self._limits.head_timeout_s if head else self._limits.body_timeout_s
        if seconds:
            self._timer = self.loop.call_later(seconds, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._waiting is _Waiting.HEAD:
            if not self._idle:
                self._start_timer()  # the request before is still answered
                return
            answer = self._head_bytes > 0  # who never asked is not told anything
        else:
            answer = not self.cycle.response_started
        if answer:
            self._refuse("408 Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: str) -> None:
        self._stop_timer()
        self.transport.write(
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode("ascii")
        )
        self.transport.close()
