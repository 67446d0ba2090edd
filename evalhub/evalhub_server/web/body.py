"""Request bodies, up to a limit."""

from __future__ import annotations

from typing import Any

from litestar import Request

from evalhub_server.domain import problems

# A client that is still sending sees a broken connection instead of the answer, so a little more is read and dropped.
DRAIN_BYTES = 16 * 1024 * 1024


async def read_body(request: Request[Any, Any, Any], limit_bytes: int) -> bytes:
    """The whole body. Raises ``request_body_too_large`` (413) above ``limit_bytes``; -1 means any size."""
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        # Litestar's own stream does the same with twice the steps, and every event comes through here.
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise problems.invalid_json("the connection was closed before the whole body had come")
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if limit_bytes < 0 or size <= limit_bytes:
            chunks.append(chunk)
        elif size > limit_bytes + DRAIN_BYTES:
            break
    if 0 <= limit_bytes < size:
        raise problems.body_too_large(limit_bytes)
    return b"".join(chunks)
