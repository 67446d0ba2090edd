"""Incremental filter of adapter output: of a line with carriage returns, such as a progress bar, its last version."""

from __future__ import annotations

import re

MAX_VERSION_BYTES = 1 << 20

_TIMESTAMP = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) ")


class LogLines:
    """Returns lines as they finish: feed it the output in chunks of any size.

    A finished line becomes what follows its last carriage return; carriage returns directly before the newline belong
    to the line ending. What :meth:`feed` returns depends on the output only and not on its chunks, and longer output
    only appends to it. A line in which more than :data:`MAX_VERSION_BYTES` lie between two carriage returns is passed on
    from there as it is, which limits the memory.

    ``timestamps``: the runtime prefixes lines with their time, which is kept.
    """

    def __init__(self, *, timestamps: bool = False) -> None:
        self._timestamps = timestamps
        self._prefix = b""
        self._held = (
            b""  # of the unfinished line: what follows its last carriage return, and those at its end
        )
        self._first = True  # whether that is the line's beginning, too
        self._returned = False  # whether the unfinished line has a carriage return
        self._raw = False  # whether the unfinished line is passed on as it is

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that ``chunk`` finishes, with their newlines."""
        if b"\r" not in chunk and not self._returned and not self._raw:
            return self._feed_plain(chunk)
        *finished, rest = chunk.split(b"\n")
        parts: list[bytes] = []
        for piece in finished:
            parts += (self._append(piece), self._finish(), b"\n")
        parts.append(self._append(rest))
        return b"".join(parts)

    def close(self, *, ended: bool) -> bytes:
        """Return the unfinished line. If the output has not ``ended``, a line with a carriage return is left out."""
        return b"" if self._returned and not ended else self._finish()

    def _feed_plain(self, chunk: bytes) -> bytes:
        end = chunk.rfind(b"\n") + 1
        if not end:
            return self._append(chunk)
        lines = self._held + chunk[:end]
        self._held = b""  # without a carriage return so far, and so without a prefix
        return lines + self._append(chunk[end:])

    def _append(self, piece: bytes) -> bytes:
        """Continue the unfinished line; returns what is passed on already."""
        if self._raw:
            return piece
        data = self._held + piece
        versions = data.rstrip(b"\r").split(b"\r")
        for number, version in enumerate(versions):
            if len(version) > MAX_VERSION_BYTES:
                passed_on = self._cut(data, versions, number)
                self._prefix, self._held, self._returned, self._raw = b"", b"", False, True
                return passed_on
        self._returned = self._returned or b"\r" in data
        line = self._cut(data, versions, len(versions) - 1)
        self._held = line[len(self._prefix) :]
        return b""

    def _cut(self, data: bytes, versions: list[bytes], number: int) -> bytes:
        """Leave out what precedes the version with this number, except the line's time."""
        if number and self._first:
            self._first = False
            match = _TIMESTAMP.match(versions[0]) if self._timestamps else None
            self._prefix = match[0] if match else b""
        return self._prefix + data[sum(len(version) + 1 for version in versions[:number]) :]

    def _finish(self) -> bytes:
        """Return the line that is held, without its newline, and begin the next one."""
        line = self._prefix + self._held.rstrip(b"\r")
        self._prefix, self._held, self._first, self._returned, self._raw = b"", b"", True, False, False
        return line
