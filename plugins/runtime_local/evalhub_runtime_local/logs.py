"""The last lines of a log file, read from its end in blocks."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

BLOCK_BYTES = 1 << 16


async def tail(path: Path, lines: int) -> AsyncIterator[bytes]:
    """Yield the last ``lines`` lines with their newlines; the whole file if ``lines`` is negative.

    Bytes written after the call are left out; a missing file yields nothing. Holds at most one block in memory.
    """
    fd = await asyncio.to_thread(_open, path)
    if fd is None:
        return
    try:
        start, end = await extent(fd, lines)
        while start < end:
            block = await asyncio.to_thread(os.pread, fd, min(BLOCK_BYTES, end - start), start)
            if not block:
                return  # truncated meanwhile
            start += len(block)
            yield block
    finally:
        os.close(fd)


def read_from(path: Path, offset: int, limit_bytes: int) -> bytes:
    """Return up to ``limit_bytes`` from ``offset`` on; nothing of a missing file or behind its end."""
    fd = _open(path)
    if fd is None:
        return b""
    try:
        return os.pread(fd, limit_bytes, offset)
    finally:
        os.close(fd)


async def start_of_tail(path: Path, lines: int) -> int:
    """Return the offset at which the last ``lines`` lines begin; 0 for a missing file."""
    fd = await asyncio.to_thread(_open, path)
    if fd is None:
        return 0
    try:
        start, _end = await extent(fd, lines)
        return start
    finally:
        os.close(fd)


async def extent(fd: int, lines: int, block_bytes: int = BLOCK_BYTES) -> tuple[int, int]:
    """Return the offsets (start, end) of the last lines of an open file."""
    end = os.fstat(fd).st_size
    if lines < 0:
        return 0, end
    position = end
    remaining = lines
    while position > 0 and remaining > 0:
        size = min(block_bytes, position)
        position -= size
        # One block per call: a line can be as long as the file, and the client can disconnect meanwhile.
        block = await asyncio.to_thread(os.pread, fd, size, position)
        cut = end - 1 - position if position + size == end else size  # the last byte ends no earlier line
        while (cut := block.rfind(b"\n", 0, cut)) >= 0:
            remaining -= 1
            if remaining == 0:
                return position + cut + 1, end
    return (0 if remaining else end), end


def _open(path: Path) -> int | None:
    try:
        # An adapter can replace its log with anything; a pipe would block here.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
