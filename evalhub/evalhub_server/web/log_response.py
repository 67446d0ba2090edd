"""Response with a log: plain text in chunks, limited in size and in time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from litestar.types import Receive, Scope, Send

from evalhub_server.settings import ServiceSettings
from evalhub_server.web.disconnect import impatient, patience_s, respond, send_body
from evalhub_server.web.uvicorn_response import EXTENSION

TRAILER = b"X-Log-Truncated"
CLOSING_TIMEOUT_S = 5.0
_HELD_BYTES = 1 << 20

Chunks = AsyncGenerator[bytes, None]
Read = Callable[[], Awaitable[Chunks]]


class LogResponse:
    """Streams a log until the client disconnects. If it is truncated, a line and the trailer report that.

    ``read`` opens the log, and raises what is wrong with the request. A log above the limit of size loses its end, and the
    line is its last one; with ``keep_end`` it loses its beginning, and the line is its first one.
    """

    def __init__(self, read: Read, settings: ServiceSettings, *, keep_end: bool) -> None:
        self._read = read
        self._limit_bytes = settings.max_log_response_bytes  # -1: no limit
        self._timeout_s = settings.log_stream_timeout  # 0: no limit
        self._keep_end = keep_end and self._limit_bytes >= 0
        self._held: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stalled_s = patience_s(self._timeout_s)
        await respond(receive, send, stalled_s, lambda send: self._respond(scope, send))

    async def _respond(self, scope: Scope, send: Send) -> None:
        chunks = await self._read()
        extensions: Any = scope.get("extensions")  # pyright: ignore[reportUnknownMemberType]  # Litestar types it loosely
        trailers = EXTENSION in (extensions or {})
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        if trailers:
            headers.append((b"trailer", TRAILER))
        start: Any = {"type": "http.response.start", "status": 200, "headers": headers, "trailers": trailers}
        await send(start)
        limit, truncated = "", False
        try:
            async with asyncio.timeout(self._timeout_s or None):
                if self._keep_end:
                    truncated = await self._send_end(chunks, send)
                elif await self._send_start(chunks, send):
                    limit = f"{self._limit_bytes} bytes"
        except TimeoutError:
            limit = f"{self._timeout_s:g} seconds"
        send = impatient(send, CLOSING_TIMEOUT_S)
        for chunk in self._held:  # read before the time limit
            await send_body(send, chunk)
        if limit:
            notice = f"\n=== log truncated after {limit}; ask for fewer lines with tail_lines ===\n"
            await send_body(send, notice.encode())
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if trailers:
            truncated = truncated or bool(limit)
            message: Any = {"type": EXTENSION, "headers": [(TRAILER, b"true")] if truncated else []}
            await send(message)

    async def _send_start(self, chunks: Chunks, send: Send) -> bool:
        """Send the log up to the limit; return whether it is longer."""
        left = self._limit_bytes
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if self._limit_bytes >= 0 and left < len(chunk):
                    await send_body(send, chunk[:left])
                    return True
                left -= len(chunk)
                await send_body(send, chunk)
        return False

    async def _send_end(self, chunks: Chunks, send: Send) -> bool:
        """Send the last bytes of the log up to the limit; return whether it is longer.

        A log that fits in memory is read once. Of a longer one the size is determined first.
        """
        size = 0
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if size <= _HELD_BYTES:
                    self._held.append(chunk)
        held, self._held = self._held, []
        excess = size - self._limit_bytes
        if excess > 0:
            notice = f"=== log truncated to its last {self._limit_bytes} bytes; request fewer lines with tail_lines ===\n"
            await send_body(send, notice.encode())
        if size <= _HELD_BYTES:
            text = b"".join(held)
            await send_body(send, _from_line_start(text[excess:]) if excess > 0 else text)
        else:
            # The log may have grown meanwhile.
            await self._send_start(_after(await self._read(), excess), send)
        return excess > 0


async def _after(chunks: Chunks, excess: int) -> Chunks:
    """The chunks without their first ``excess`` bytes, and without the line that is cut thereby."""
    async with contextlib.aclosing(chunks):
        async for chunk in chunks:
            if excess <= 0:
                yield chunk
            elif len(chunk) > excess:
                yield _from_line_start(chunk[excess:])
            excess -= len(chunk)


def _from_line_start(text: bytes) -> bytes:
    """Leave out the rest of a line at the beginning, unless there is no other line."""
    start = text.find(b"\n") + 1
    return text[start:] if start < len(text) else text
