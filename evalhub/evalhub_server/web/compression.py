"""Compression of large response bodies with gzip, for clients that accept it."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable, Sequence

from evalhub_server.domain.entity_tags import GZIP_SUFFIX

Header = tuple[bytes, bytes]

MIN_BYTES = 4096
"""Smaller bodies fit into a few packets anyway."""
THREAD_BYTES = 64 * 1024
"""Compressing more takes longer than the hand-over to a thread, and would delay other requests."""
LEVEL = 4
"""JSON shrinks to about an eighth; higher levels take several times as long for a few percent."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_VARY: Header = (b"vary", b"Accept-Encoding")
_CODING = re.compile(rb"\s*(gzip|x-gzip|\*)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.IGNORECASE)


async def negotiated(
    request_headers: Iterable[tuple[bytes, bytes]], headers: Sequence[Header], body: bytes
) -> tuple[Sequence[Header], bytes]:
    """The headers and the body to send: compressed if the body is large and the client accepts it."""
    if len(body) < MIN_BYTES or any(name == b"content-encoding" for name, _ in headers):
        return headers, body
    if not accepts_gzip(request_headers):
        return (*headers, _VARY), body
    compressed = await asyncio.to_thread(_gzip, body) if len(body) >= THREAD_BYTES else _gzip(body)
    changed = [_compressed_header(header, len(compressed)) for header in headers]
    return (*changed, (b"content-encoding", b"gzip"), _VARY), compressed


def accepts_gzip(request_headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether ``Accept-Encoding`` names gzip, or everything, with a weight above 0."""
    weights: dict[bytes, float] = {}
    for name, value in request_headers:
        if name == b"accept-encoding":
            for item in value.split(b","):
                if match := _CODING.fullmatch(item):
                    weights[match[1].lower()] = _weight(match[2])
    return weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0))) > 0


def _weight(text: bytes | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()


def _compressed_header(header: Header, length: int) -> Header:
    name, value = header
    if name == b"content-length":
        return name, b"%d" % length
    if name == b"etag":
        return name, value[:-1] + GZIP_SUFFIX.encode() + b'"'
    return header
