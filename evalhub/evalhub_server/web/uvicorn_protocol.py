"""uvicorn's HTTP/1.1 protocol, extended: one packet per response, trailers, absolute targets, time and size limits.

uvicorn writes head and body of a response separately, which costs a second system call and a second packet; here they are
written together. Trailers follow the last chunk of a chunked response (RFC 9112 section 7.1.2); the contract has them on
log streams, and they are offered as the ASGI extension ``http.response.trailers``. Another extension is for responses that are
complete: :data:`evalhub_server.web.responses.BODY`. A target such as ``http://host/path``
overrides the header ``Host`` (section 3.2.2 there), which the checks of the application depend on. A response to HTTP/1.0 has
no chunks. A connection is not reset while its client is still sending a request that was answered already. Trailers of a request
are ignored. Requests with an unknown method reach the application, since the contract's 405 names it.

uvicorn has no public interface for any of this. These internals of its protocol are used here, and nowhere else:

* of ``HttpToolsProtocol``: the constructor; ``connection_made``, ``connection_lost``, ``data_received`` and ``shutdown``;
  httptools' callbacks ``on_message_begin``, ``on_headers_complete`` and ``on_message_complete``; ``send_400_response``, called for a
  parser error or any exception of a callback; ``parser``, ``url``, ``headers`` (a list, shared with the scope), ``scope``,
  ``cycle``, ``transport`` and ``loop``;
* of ``RequestResponseCycle``: ``send``; ``scope``, ``transport``, ``flow``, ``default_headers``, ``keep_alive``, ``on_response``,
  ``waiting_for_100_continue``, ``response_started``, ``response_complete``,
  ``disconnected``, ``message_event``, ``chunked_encoding`` and ``expected_content_length``; what its ``send`` sets of them; that its
  task starts after ``on_headers_complete``, so that ``__class__`` can be replaced there; and that ``send`` writes to
  ``transport`` with ``write`` and ``close`` only, encodes an empty last chunk as ``0\\r\\n\\r\\n``, and reads
  ``chunked_encoding``, ``expected_content_length`` and ``more_body`` as of each call.

* ``STATUS_LINE``, the encoded status lines.

Tests run it with the lowest and the newest version of uvicorn that is allowed.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from enum import Enum, auto
from functools import partial
from typing import Any, cast

import httptools
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from evalhub_server.web.responses import BODY

EXTENSION = "http.response.trailers"
ABORT = "evalhub.response.abort"
"""An ASGI message that closes the connection at once, even if the client does not read what is buffered."""
_EXTENSIONS: dict[str, dict[object, object]] = {EXTENSION: {}, ABORT: {}, BODY: {}}
_LAST_CHUNK = b"0\r\n\r\n"
_FIELD_BYTES = b"\t" + bytes(range(32, 127)) + bytes(range(128, 256))
"""What header fields may contain."""
_CLOSE = b"connection", b"close"
_FRAMING = {b"connection", b"transfer-encoding"}
"""Headers with which an application decides how the response ends."""
LARGE_BYTES = 16 * 1024
"""A body of this size is passed to the transport as it is; a smaller one is joined with the head, which costs less."""
_AUTHORITY = re.compile(rb"[^:/?#]+://([^/?#]*)")


class Protocol(HttpToolsProtocol):
    """Uses :class:`ResponseCycle` for every request."""

    def on_headers_complete(self) -> None:
        absolute = None if self.url.startswith(b"/") else _AUTHORITY.match(self.url)
        if absolute:
            self.headers[:] = [(b"host", absolute[1]), *(f for f in self.headers if f[0] != b"host")]
        super().on_headers_complete()
        # uvicorn cannot be given another class. The task of the cycle has not started yet.
        if self.cycle is None:  # pyright: ignore[reportUnnecessaryComparison]  after an upgrade request
            return
        # The parser passes trailers as further headers; RFC 9110 section 6.5.1 forbids to use them as such.
        self.headers = deque(maxlen=0)  # pyright: ignore[reportAttributeAccessIssue]  keeps nothing
        if self.scope["http_version"] == "1.0":
            self.cycle.__class__ = CloseDelimitedCycle
        else:
            self.cycle.__class__ = ResponseCycle
            self.cycle.scope["extensions"] = _EXTENSIONS  # pyright: ignore[reportGeneralTypeIssues]

    def end_connection(self) -> None:
        """Close the connection after the last response."""
        self.transport.close()


class ResponseCycle(RequestResponseCycle):
    """Delays the head until the body is sent, and the end of the body until announced trailers are sent."""

    head: Any = None
    expects_trailers = False

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            if BODY in message:
                await self._send_whole(message, message[BODY])
                return
            # It may be replaced: uvicorn sends a 500 of its own if the application fails between head and body.
            self.head = message
            self.expects_trailers = bool(message.get("trailers"))
            return
        if kind == ABORT:
            self.disconnected = self.response_complete = True
            self.message_event.set()
            cast("asyncio.Transport", self.transport).abort()
            return
        if kind == EXTENSION:
            fields = b"".join(b"%s: %s\r\n" % field for field in message["headers"])
            await self._write_once(fields, {"type": "http.response.body", "body": b"", "more_body": False})
            return
        if self.expects_trailers and not message.get("more_body"):
            message = {**message, "more_body": True}
        if self.head is None and (message.get("more_body") or not self.more_body):
            await super().send(message)
        elif self.head is None:
            await self._write_once(b"", message)
        else:
            head, self.head = self.head, None
            if _is_whole(head, message):
                await self._send_whole(head, message.get("body", b""))
            else:
                await self._write_once(b"", head, message)

    async def _send_whole(self, head: Any, body: bytes) -> None:
        """Send a response that needs no chunks: what uvicorn's ``send`` does with two messages, in half of the time."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        headers = [*self.default_headers, *head["headers"]]
        fields = b"".join([b"%s: %s\r\n" % field for field in headers])
        if fields.translate(None, _FIELD_BYTES) != b"\r\n" * len(headers):
            raise RuntimeError("A response header has control characters.")
        self.response_started = True
        self.waiting_for_100_continue = False
        if _CLOSE in self.scope["headers"]:
            self.keep_alive = False  # the oldest versions find this when they send
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        if self.scope["method"] == "HEAD":
            body = b""
        if len(body) < LARGE_BYTES:
            self.transport.write(b"".join((STATUS_LINE[head["status"]], fields, end, body)))
        else:
            transport = cast("asyncio.Transport", self.transport)
            transport.writelines((STATUS_LINE[head["status"]] + fields + end, body))
        self.response_complete = True
        self.message_event.set()
        protocol = self.on_response.__self__  # pyright: ignore[reportFunctionMemberAccess]  see _write_once
        self.on_response()
        if not self.keep_alive:
            protocol.end_connection()

    async def _write_once(self, trailers: bytes, *messages: Any) -> None:
        """Let uvicorn encode ``messages`` and write the result at once, with ``trailers`` after the last chunk."""
        transport = self.transport
        buffer = _BufferingTransport()
        self.transport = buffer  # pyright: ignore[reportAttributeAccessIssue]
        try:
            for message in messages:
                await super().send(message)
        finally:
            self.transport = transport
        data = b"".join(buffer.pieces)
        if trailers and data.endswith(_LAST_CHUNK):
            data = data[: -len(b"\r\n")] + trailers + b"\r\n"
        if data:
            transport.write(data)
        if buffer.closed:
            # on_response is a method of the protocol; an attribute for the protocol would be a reference cycle.
            self.on_response.__self__.end_connection()  # pyright: ignore[reportFunctionMemberAccess]


def _is_whole(head: Any, message: Any) -> bool:
    """Whether the head and one message are a response whose length is known."""
    if message["type"] != "http.response.body" or message.get("more_body"):
        return False
    fields = dict(head["headers"])
    if not _FRAMING.isdisjoint(fields):
        return False
    length = fields.get(b"content-length")
    if length is None:
        return head["status"] in (204, 304) and not message.get("body")
    return length == b"%d" % len(message.get("body", b""))


class CloseDelimitedCycle(ResponseCycle):
    """For HTTP/1.0, which has no chunks: a body without a length ends with the connection, which uvicorn never keeps."""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            has_length = any(name.lower() == b"content-length" for name, _ in message["headers"])
            self.chunked_encoding = None if has_length else False
        elif self.chunked_encoding is False and message["type"] == "http.response.body":
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class _BufferingTransport:
    """The part of a transport that uvicorn's cycle uses for sending."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True


FIRST_REQUEST_GRACE_S = 0.1
"""Time for a request on a connection that was accepted just before the server stops: an adapter reports only once."""

LINGER_BYTES = 16 * 1024 * 1024
"""How much of a request is read and dropped after its response; see :meth:`LimitedProtocol.end_connection`."""
LINGER_S = 15.0
"""How long that may take if there is no time limit for bodies."""
_METHOD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ")
_PLACEHOLDER_METHOD = b"TRACE"
_UPLOADS = (b"/samples", b"/artifacts")
"""Ends of paths to which files of any size are sent."""


class Limits(Struct, kw_only=True, frozen=True):
    """Limits of a request; 0 seconds are no limit.

    ``head_timeout_s`` begins with the connection, or with the first byte of a later request, and ends with the head;
    ``body_timeout_s`` begins there and ends with the body; for an upload of samples or artifacts it begins
    again whenever something arrives.
    ``head_bytes`` includes the request line.
    """

    head_timeout_s: float
    body_timeout_s: float
    head_bytes: int


class _Phase(Enum):
    """The part of a request that is awaited."""

    HEAD = auto()
    BODY = auto()
    COMPLETE = auto()


def limited_protocol(limits: Limits) -> Any:
    """The protocol factory for ``uvicorn.Config(http=…)``."""
    return partial(LimitedProtocol, limits=limits)


class LimitedProtocol(Protocol):
    """Responds with 408 or 431 to a request above the limits and closes the connection.

    A request that arrives in one piece, as nearly all do, needs no timer.
    """

    def __init__(self, *arguments: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._phase = _Phase.HEAD
        self._timer: asyncio.TimerHandle | None = None
        self._piece_bytes = 0
        self._head_bytes = 0  # of earlier pieces
        self._too_large = False
        self._first_piece = b""  # of the request that is being parsed
        self._unknown_method = ""
        self._lingering = False
        self._refused = False
        self._dropped_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Close the connection once it is idle. A request whose head is on its way gets a moment to arrive."""
        if self._phase is _Phase.HEAD:
            self.loop.call_later(FIRST_REQUEST_GRACE_S, super().shutdown)
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._drop(len(data))
            return
        self._piece_bytes = len(data)
        is_first = self._phase is _Phase.COMPLETE or (self._phase is _Phase.HEAD and not self._head_bytes)
        self._first_piece = data if is_first else b""
        super().data_received(data)
        if self._phase is _Phase.COMPLETE or self.transport.is_closing() or self._refused:
            return
        if self._phase is _Phase.BODY and self.cycle.response_complete:
            self._drop(len(data))
        if self._phase is _Phase.HEAD:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes and self._idle:
                self._refuse("431 Request Header Fields Too Large")
                return
        if self._phase is _Phase.BODY and self.url.partition(b"?")[0].endswith(_UPLOADS):
            self._stop_timer()
        if self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        self._phase = _Phase.HEAD
        self._head_bytes = 0
        self._dropped_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._stop_timer()
        if self._head_bytes + self._piece_bytes > self._limits.head_bytes:
            head = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head > self._limits.head_bytes:
                self._too_large = True
                raise ValueError("head too large")  # the parser stops, and send_400_response is called
        super().on_headers_complete()  # raises for a malformed target, which then gets 400
        self._phase = _Phase.BODY
        if self._unknown_method:
            self.scope["method"] = self._unknown_method
            self._unknown_method = ""

    def on_message_complete(self) -> None:
        self._stop_timer()
        self._phase = _Phase.COMPLETE
        super().on_message_complete()
        if self._lingering:
            self.transport.close()

    def end_connection(self) -> None:
        """Close the connection, unless the client is still sending: that would reset it, and the response be lost.

        Then what comes is dropped until the request is complete, the client closes the connection, :data:`LINGER_BYTES` have
        come, or the time limit for bodies is over. No more is sent, so a client that reads until then is released.
        """
        if self._phase is _Phase.COMPLETE or self._lingering:
            self.transport.close()
            return
        self._lingering = True
        self._stop_timer()
        self._timer = self.loop.call_later(self._limits.body_timeout_s or LINGER_S, self._timed_out)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _drop(self, size_bytes: int) -> None:
        """Count what is received after the response."""
        self._dropped_bytes += size_bytes
        if self._dropped_bytes > LINGER_BYTES:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self._phase is _Phase.BODY and self.cycle.response_complete:
            self.transport.close()  # another response would be taken for that of the next request
            return
        self._stop_timer()
        if self._too_large:
            self._refuse("431 Request Header Fields Too Large")
        elif isinstance(sys.exception(), httptools.HttpParserInvalidMethodError) and self._idle:
            self._parse_unknown_method(msg)
        else:
            super().send_400_response(msg)

    def _parse_unknown_method(self, msg: str) -> None:
        """Parse the request again with a placeholder method; :meth:`on_headers_complete` restores the real one."""
        method = _METHOD.match(self._first_piece)
        if method is None:
            super().send_400_response(msg)
            return
        self._unknown_method = method[1].decode("ascii")
        self.parser = httptools.HttpRequestParser(self)
        super().data_received(_PLACEHOLDER_METHOD + self._first_piece[method.end(1) :])

    @property
    def _idle(self) -> bool:
        """Whether no earlier response is in progress, into which another one would be written."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _start_timer(self) -> None:
        head = self._phase is _Phase.HEAD
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
        if self._lingering:
            self.transport.close()
            return
        if self._phase is _Phase.HEAD:
            if not self._idle:
                self._start_timer()  # the previous response is still in progress
                return
            respond = self._head_bytes > 0  # without a request the connection is just closed
        else:
            respond = not self.cycle.response_started
        if respond:
            self._refuse("408 Request Timeout", linger=False)
        else:
            self.transport.close()

    def _refuse(self, status: str, *, linger: bool = True) -> None:
        self._stop_timer()
        self.transport.write(
            f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode("ascii")
        )
        self._refused = True
        if linger:
            self.end_connection()
        else:
            self.transport.close()
