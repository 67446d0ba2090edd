"""Adapter output as it is shown: lines in their last version."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from evalhub_server.domain.log_lines import LogLines


async def finished_lines(
    chunks: AsyncIterator[bytes], *, ended: bool, timestamps: bool = False
) -> AsyncGenerator[bytes]:
    """Yield output through :class:`LogLines`."""
    lines = LogLines(timestamps=timestamps)
    async for chunk in chunks:
        if text := lines.feed(chunk):
            yield text
    if text := lines.close(ended=ended):
        yield text


async def without_final_newline(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield output without the newline at its end."""
    held = b""
    async for chunk in chunks:
        text = held + chunk
        body = text.removesuffix(b"\n")
        held = text[len(body) :]
        if body:
            yield body
