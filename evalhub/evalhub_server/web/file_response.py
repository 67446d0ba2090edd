"""Files in responses: streamed as attachments, which no browser shows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Literal, cast
from urllib.parse import quote

from litestar.types import Receive, Scope, Send

from evalhub_server.web.disconnect import respond, send_body
from evalhub_server.web.responses import Header

CHUNK_BYTES = 256 * 1024
PAUSE_S = 120.0
"""For how long the client may take nothing: programs that read a file line by line also work with the lines."""

SANDBOX: tuple[Header, ...] = (
    (b"content-security-policy", b"sandbox"),
    (b"cache-control", b"private, no-cache"),
)
"""For content of adapters and models: if a browser shows it after all, nothing in it may run."""


class FileResponse:
    """Streams chunks, which are produced in threads, as an attachment, unless the client takes nothing for ``stalled_s``."""

    def __init__(
        self,
        chunks: Iterator[bytes],
        media_type: str,
        file_name: str,
        size_bytes: int | None = None,
        stalled_s: float = PAUSE_S,
    ) -> None:
        self._chunks = chunks
        self._stalled_s = stalled_s
        length = [] if size_bytes is None else [(b"content-length", b"%d" % size_bytes)]
        self._headers: list[Header] = [
            (b"content-type", media_type.encode()),
            content_disposition(file_name),
            *length,
            *SANDBOX,
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        with closing(cast("Any", self._chunks)):
            await respond(receive, send, self._stalled_s, lambda send: self._respond(send, is_head=is_head))

    async def _respond(self, send: Send, *, is_head: bool) -> None:
        # The first chunk before the status: what cannot be read is an error then, and not a broken connection.
        chunk = None if is_head else await self._next()
        start: Any = {"type": "http.response.start", "status": 200, "headers": self._headers}
        await send(start)
        while chunk:
            await send_body(send, chunk)
            chunk = await self._next()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes | None:
        reading = asyncio.ensure_future(asyncio.to_thread(next, self._chunks, None))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])  # the thread must have finished before the file is closed
            raise


def content_disposition(file_name: str, kind: Literal["attachment", "inline"] = "attachment") -> Header:
    """The header ``Content-Disposition``, with the name in ASCII and, RFC 8187, as it is. Browsers do not show an ``attachment``."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", file_name)[-100:]
    value = f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(file_name, safe='')}"
    return b"content-disposition", value.encode()


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces in chunks of about :data:`CHUNK_BYTES`."""
    chunk = bytearray()
    for piece in pieces:
        chunk += piece
        if len(chunk) >= CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)
