"""Parts of a log file: its last lines, read from its end in blocks, or what begins at an offset.

The middle of a long log may have been removed (see ``log_limit.py``): the file then has a hole, and readers get one line in
its place.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from evalhub_server.plugins import LogPart

BLOCK_BYTES = 1 << 16


class Gap(NamedTuple):
    """What was removed from a log, extended to whole lines: the bytes from ``start`` to ``end``."""

    start: int
    end: int

    @property
    def line(self) -> bytes:
        size = self.end - self.start
        return b"--- %d bytes of the log were removed here (retention.log_max_bytes) ---\n" % size


async def tail(path: Path | str, lines: int) -> AsyncIterator[bytes]:
    """Yield the last ``lines`` lines with their newlines; the whole file if ``lines`` is negative.

    Bytes written after the call are left out; a missing file yields nothing. Holds at most one block in memory.
    """
    fd = await asyncio.to_thread(_open, path)
    if fd is None:
        return
    try:
        start, end = await extent(fd, lines)
        gap = find_gap(fd)
        while start < end:
            if gap is not None and gap.start <= start < gap.end:
                yield gap.line
                start = gap.end
                continue
            stop = min(gap.start, end) if gap is not None and start < gap.start else end
            block = await asyncio.to_thread(os.pread, fd, min(BLOCK_BYTES, stop - start), start)
            if not block:
                return  # truncated meanwhile
            start += len(block)
            yield block
    finally:
        os.close(fd)


def read_from(path: Path | str, offset: int, limit_bytes: int) -> LogPart:
    """Return up to ``limit_bytes`` from ``offset`` on; nothing of a missing file or behind its end."""
    fd = _open(path)
    if fd is None:
        return LogPart(b"", offset)
    try:
        gap = find_gap(fd)
        if gap is not None and offset < gap.end:
            if offset >= gap.start:
                return LogPart(gap.line, gap.end)
            limit_bytes = min(limit_bytes, gap.start - offset)
        data = os.pread(fd, limit_bytes, offset)
        return LogPart(data, offset + len(data))
    finally:
        os.close(fd)


def find_gap(fd: int) -> Gap | None:
    """The hole of a file, extended to the ends of the lines around it; None if it has none."""
    size = os.fstat(fd).st_size
    with suppress(OSError, AttributeError):  # nothing after the hole; a system without holes
        start = os.lseek(fd, 0, os.SEEK_HOLE)
        if start >= size:
            return None
        end = os.lseek(fd, start, os.SEEK_DATA)
        first = max(0, start - BLOCK_BYTES)
        head = os.pread(fd, start - first, first)
        rest = os.pread(fd, BLOCK_BYTES, end)
        return Gap(first + head.rfind(b"\n") + 1 if b"\n" in head else start, end + rest.find(b"\n") + 1)
    return None


async def start_of_tail(path: Path | str, lines: int) -> int:
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
    gap = find_gap(fd)
    position = end
    remaining = lines
    while position > 0 and remaining > 0:
        if gap is not None and gap.start < position <= gap.end:
            for boundary in (gap.end, gap.start):  # the line in its place ends and begins there
                remaining -= boundary < end
                if remaining == 0:
                    return boundary, end
            position = gap.start
            continue
        size = min(block_bytes, position - gap.end if gap is not None and position > gap.end else position)
        position -= size
        # One block per call: a line can be as long as the file, and the client can disconnect meanwhile.
        block = await asyncio.to_thread(os.pread, fd, size, position)
        is_last = position + size == end or (gap is not None and position + size == gap.start)
        cut = size - 1 if is_last else size  # the last byte ends no earlier line
        while (cut := block.rfind(b"\n", 0, cut)) >= 0:
            remaining -= 1
            if remaining == 0:
                return position + cut + 1, end
    return (0 if remaining else end), end


def _open(path: Path | str) -> int | None:
    try:
        # An adapter can replace its log with anything; a pipe would block here.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None
