"""Server-sent events (HTML standard, section 9.2) as a response that never waits for a slow reader for long."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable

from litestar.types import Receive, Scope, Send

from evalhub_server.web.disconnect import STALLED_S, respond, send_body

EVENT_STREAM = "text/event-stream"
HEARTBEAT_S = 15.0
HEARTBEAT = b": keep-alive\n\n"
RETRY_MS = 2000

Chunks = AsyncGenerator[bytes, None]


def event(name: str, data: bytes, event_id: str = "") -> bytes:
    """One event. ``data`` is JSON, which has no line break."""
    identity = b"id: %s\n" % event_id.encode() if event_id else b""
    return b"%sevent: %s\ndata: %s\n\n" % (identity, name.encode(), data)


class StreamResponse:
    """Sends chunks as they come, until they end, the client leaves, or it takes nothing for ``stalled_s``.

    ``chunks`` is called when the response starts, so that nothing is open if it never does. An empty chunk sends the head.
    """

    def __init__(
        self,
        chunks: Callable[[], Chunks],
        media_type: str,
        first: bytes = b"",
        stalled_s: float = STALLED_S,
    ) -> None:
        self._chunks = chunks
        self._media_type = media_type
        self._first = first
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", f"{self._media_type}; charset=utf-8".encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx would collect the events
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["type"] == "http" and scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await respond(receive, send, self._stalled_s, self._send_all)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        async with contextlib.aclosing(self._chunks()) as chunks:
            async for chunk in chunks:
                await send_body(send, chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
