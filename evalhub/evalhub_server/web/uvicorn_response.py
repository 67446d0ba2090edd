"""Responses of uvicorn's HTTP/1.1 protocol, extended: one packet each, trailers, no chunks for HTTP/1.0.

uvicorn writes head and body of a response separately, which costs a second system call and a second packet; here they are
written together. Trailers follow the last chunk of a chunked response (RFC 9112 section 7.1.2); the contract has them on
log streams, and they are offered as the ASGI extension ``http.response.trailers``. Another extension is for responses that are
complete: :data:`evalhub_server.web.responses.BODY`. A response to HTTP/1.0 has no chunks.

uvicorn has no public interface for any of this. These internals of its protocol are used here, and nowhere else:

* of ``RequestResponseCycle``: ``send``; ``scope``, ``transport``, ``flow``, ``default_headers``, ``keep_alive``, ``on_response``,
  ``waiting_for_100_continue``, ``response_started``, ``response_complete``,
  ``disconnected``, ``message_event``, ``chunked_encoding`` and ``expected_content_length``; what its ``send`` sets of them; and that ``send`` writes to
  ``transport`` with ``write`` and ``close`` only, encodes an empty last chunk as ``0\\r\\n\\r\\n``, and reads
  ``chunked_encoding``, ``expected_content_length`` and ``more_body`` as of each call;
* ``STATUS_LINE``, the encoded status lines.

Tests run it with the lowest and the newest version of uvicorn that is allowed.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from evalhub_server.web.responses import BODY

EXTENSION = "http.response.trailers"
ABORT = "evalhub.response.abort"
"""An ASGI message that closes the connection at once, even if the client does not read what is buffered."""
EXTENSIONS: dict[str, dict[object, object]] = {EXTENSION: {}, ABORT: {}, BODY: {}}
_LAST_CHUNK = b"0\r\n\r\n"
_CONTROLS = bytes(byte if byte == ord("\t") or 32 <= byte != 127 else 0 for byte in range(256))
"""A table for ``translate`` that replaces what header fields must not contain with zeros."""
_FRAMING = {b"connection", b"transfer-encoding"}
"""Headers with which an application decides how the response ends."""
LARGE_BYTES = 16 * 1024
"""A body of this size is passed to the transport as it is; a smaller one is joined with the head, which costs less."""


class ResponseCycle(RequestResponseCycle):
    """Delays the head until the body is sent, and the end of the body until announced trailers are sent."""

    head: Any = None
    expects_trailers = False

    async def send(self, message: Any) -> None:
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            body = message.get(BODY)
            if body is not None:
                if self.flow.write_paused:
                    await self.flow.drain()
                self._write_whole(message, body)
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
                if self.flow.write_paused:
                    await self.flow.drain()
                self._write_whole(head, message.get("body", b""))
            else:
                await self._write_once(b"", head, message)

    def _write_whole(self, head: Any, body: bytes) -> None:
        """Write a response that needs no chunks: what uvicorn's ``send`` does with two messages, in half of the time."""
        if self.disconnected:
            return
        fields = [STATUS_LINE[head["status"]][:-2]]
        fields += [b": ".join(field) for field in (*self.default_headers, *head["headers"])]
        lines = b"\r\n".join(fields)
        if lines.translate(_CONTROLS).count(b"\0") != 2 * len(fields) - 2:
            raise RuntimeError("A response header has control characters.")
        self.response_started = True
        self.waiting_for_100_continue = False
        end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
        if self.scope["method"] == "HEAD":
            body = b""
        if len(body) < LARGE_BYTES:
            self.transport.write(b"".join((lines, end, body)))
        else:
            transport = cast("asyncio.Transport", self.transport)
            transport.writelines((lines + end, body))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.on_response.__self__.end_connection()  # pyright: ignore[reportFunctionMemberAccess]  see _write_once
        self.on_response()

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
