"""Limit on the size of logs: frees the middle of files that adapters are writing to.

Adapters write to their log without the server in between, with ``O_APPEND``. So the space of the middle is given back to the
file system (a hole), and the offsets of everything else stay the same: the adapter appends as before, and readers go on at
their offset. Ordinary logs cost one ``fstat`` a second.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache

import structlog
from msgspec import Struct

from evalhub_runtime_local.attempt_files import open_own

log = structlog.get_logger()

ALIGNMENT_BYTES = 64 * 1024
"""A multiple of the block size of file systems: only whole blocks are given back."""
MIN_BYTES = 16 * ALIGNMENT_BYTES
LONGEST_PAUSE_S = 1.0
SHORTEST_PAUSE_S = 0.02
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
CUT = b"\n--- the rest of the log was removed when it exceeded retention.log_max_bytes ---\n"


class _Watched(Struct):
    """An open log, and its size in bytes at the last check."""

    fd: int
    size: int = 0


class LogLimit:
    """Keeps the beginning and the end of each watched log, and at most ``max_bytes`` of it; 0 or less is no limit.

    The file is kept open, since an adapter that removes it would go on writing to it.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max(max_bytes, MIN_BYTES) if max_bytes > 0 else 0
        self._logs: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None

    def take(self, marker: str, fd: int) -> None:
        """Take over the descriptor with which the log of an attempt was opened for writing, for :meth:`watch`."""
        if self._max_bytes and marker not in self._logs:
            self._logs[marker] = _Watched(fd=fd)
        else:
            os.close(fd)

    def watch(self, marker: str, path: str) -> None:
        """Watch the log of an attempt. Idempotent; blocks for microseconds."""
        if not self._max_bytes:
            return
        with suppress(OSError):
            if marker not in self._logs:
                self._logs[marker] = _Watched(fd=open_own(path, os.O_WRONLY | os.O_APPEND))
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name="log-limit")

    def forget(self, marker: str) -> None:
        """Stop watching a log of which every writer has exited."""
        watched = self._logs.pop(marker, None)
        if watched is not None:
            self._check(watched)
            os.close(watched.fd)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for marker in list(self._logs):
            self.forget(marker)

    async def _run(self) -> None:
        pause_s = LONGEST_PAUSE_S
        while self._logs:
            await asyncio.sleep(pause_s)
            pauses = [self._check(watched, pause_s) for watched in self._logs.values()]
            pause_s = min([LONGEST_PAUSE_S, *pauses])

    def _check(self, watched: _Watched, elapsed_s: float = LONGEST_PAUSE_S) -> float:
        """Free the middle of a log that is too large; returns the time until it may be again."""
        found = os.fstat(watched.fd)
        rate, watched.size = max(0, found.st_size - watched.size) / elapsed_s, found.st_size
        allocated = found.st_blocks * 512
        if allocated > self._max_bytes:
            try:
                shorten(watched.fd, found.st_size, self._max_bytes)
            except OSError as error:
                log.error("Log could not be shortened", error=str(error))
                return LONGEST_PAUSE_S
            allocated = self._max_bytes * 3 // 4
        left = self._max_bytes - allocated
        return max(SHORTEST_PAUSE_S, left / rate) if rate else LONGEST_PAUSE_S


def shorten(fd: int, size: int, max_bytes: int) -> None:
    """Keep a quarter of ``max_bytes`` at the beginning and half of it at the end. Raises :class:`OSError`.

    Where the file system cannot free parts of a file, everything after the beginning is removed.
    """
    head = max(1, max_bytes // 4 // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    tail = (size - max_bytes // 2) // ALIGNMENT_BYTES * ALIGNMENT_BYTES
    if tail <= head:
        return
    punch = _punch()
    if punch is not None:
        try:
            punch(fd, head, tail - head)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        else:
            return
    os.ftruncate(fd, head)
    os.pwrite(fd, CUT, head)


@cache
def _punch() -> Callable[[int, int, int], None] | None:
    """A function (descriptor, offset, length) that frees a part of a file; None if this system has none."""
    if sys.platform != "linux":
        return None
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if fallocate is None:
        return None
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def punch(fd: int, offset: int, length: int) -> None:
        if fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    return punch
