"""A window of the lines of a log, collected while the log is read in chunks."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from evalhub_server.viewer.log_markup import LEVELS, LINE_CHARACTERS, Level, last_version, line_level

MAX_LINE_BYTES = 64 * 1024
"""Of a longer line, the end is left out."""
MAX_HELD_BYTES = 8 * 2**20
"""Of longer lines, and of windows with such lines, the beginning is left out."""


class LogFilter(NamedTuple):
    """Which lines are wanted: those that contain ``text``, ASCII letters regardless of case, and have at least a level."""

    text: str = ""
    level: Level = ""

    @property
    def empty(self) -> bool:
        return not self.text and not self.level


class LongLine(NamedTuple):
    """Position and size of a line in bytes."""

    at: int
    size_bytes: int


class LogWindow:
    """Feed it the log in chunks of any size, then read ``lines``.

    ``start`` is the number of the first line, from 1; a negative one counts from the end. At most ``size`` lines are kept.
    Without a filter, only line feeds are counted outside the window.
    """

    def __init__(self, start: int, size: int, wanted: LogFilter) -> None:
        self._from_end = start < 0
        self._start = max(start, 1)
        self._size = min(-start, size) if start < 0 else size
        self._wanted = wanted
        self._needle = wanted.text.encode("utf-8", "replace").lower()
        self._chunks: deque[tuple[int, int, bytes]] = deque()
        """Chunks with the number of the line and the position in bytes at which they begin."""
        self._found: deque[tuple[int, str]] = deque()
        self._skipped: deque[int] = deque(maxlen=size)
        self._held = b""
        self._held_bytes = 0
        self._feeds = 0
        self._before = 0
        self._level: Level = ""
        self.size_bytes = 0
        self.complete_bytes = 0
        """Position after the last line feed."""
        self.cut = False
        """Whether the beginning of the window is left out because its lines are too long."""
        self.long_lines: dict[int, LongLine] = {}
        """Lines of the window that are shown in part. Complete when ``lines`` was read."""
        self.matches = 0
        """Number of lines that the filter selects in the whole log."""
        self._lines: list[tuple[int, str]] | None = None

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk."""
        last = chunk.rfind(b"\n") + 1
        if last:
            self.complete_bytes = self.size_bytes + last
        if self._wanted.empty:
            self._keep(chunk)
        else:
            self._search(chunk)
        self.size_bytes += len(chunk)

    @property
    def total(self) -> int:
        """Number of lines of the log so far, an unfinished one included."""
        return self._feeds + (self.size_bytes > self.complete_bytes)

    @property
    def finished_lines(self) -> int:
        return self._feeds

    @property
    def lines(self) -> Sequence[tuple[int, str]]:
        """The lines of the window with their numbers. Call it when all is fed."""
        if self._lines is None:
            self._lines = self._plain_lines() if self._wanted.empty else self._filtered_lines()
        return self._lines

    @property
    def earlier(self) -> int | None:
        """The start of the window before this one; None if there is no earlier line."""
        if not self.lines:
            return None
        first = self.lines[0][0]
        if self._wanted.empty:
            return max(first - self._size, 1) if first > 1 else None
        return self._skipped[0] if self._skipped else None

    @property
    def later(self) -> int | None:
        """The start of the window after this one; None if there is no later line."""
        if not self.lines:
            return None
        last = self.lines[-1][0]
        if self._wanted.empty:
            return last + 1 if last < self.total else None
        skipped = self.matches - len(self.lines) if self._from_end else self._before
        return last + 1 if self.matches > len(self.lines) + skipped else None

    def _keep(self, chunk: bytes) -> None:
        first, feeds = self._feeds + 1, chunk.count(b"\n")
        self._feeds += feeds
        if self._from_end:
            self._append(first, chunk)
            while len(self._chunks) > 1 and self._feeds - self._chunks[1][0] >= self._size:
                self._drop()
        elif first + feeds >= self._start and first < self._start + self._size:
            self._append(first, chunk)

    def _append(self, first: int, chunk: bytes) -> None:
        self._chunks.append((first, self.size_bytes, chunk))
        self._held_bytes += len(chunk)
        while self._held_bytes > MAX_HELD_BYTES and len(self._chunks) > 1:
            self._drop()
            self.cut = True

    def _drop(self) -> None:
        self._held_bytes -= len(self._chunks.popleft()[2])

    def _plain_lines(self) -> list[tuple[int, str]]:
        if not self._chunks:
            return []
        first, at, _ = self._chunks[0]
        texts = b"".join(chunk for _, _, chunk in self._chunks).split(b"\n")
        if not texts[-1]:
            texts.pop()
        start = max(self.total - self._size + 1, 1) if self._from_end else self._start
        skipped = max(start - first, 0)
        at += sum(len(text) + 1 for text in texts[:skipped])
        chosen: list[tuple[int, str]] = []
        for number, text in enumerate(texts[skipped : skipped + self._size], first + skipped):
            chosen.append((number, self._shown(number, text, at)))
            at += len(text) + 1
        return chosen

    def _search(self, chunk: bytes) -> None:
        data, at = self._held + chunk, self.size_bytes - len(self._held)
        end = data.rfind(b"\n") + 1
        if not end:
            self._hold(data)
            return
        block, self._held = data[:end], b""
        self._hold(data[end:])
        if self._wanted.level or self._needle in block.lower():
            for line in block[:-1].split(b"\n"):
                self._feeds += 1
                self._consider(self._feeds, line, at)
                at += len(line) + 1
        else:
            self._feeds += block.count(b"\n")

    def _hold(self, rest: bytes) -> None:
        self.cut = self.cut or len(rest) > MAX_HELD_BYTES
        self._held = rest[-MAX_HELD_BYTES:]

    def _consider(self, number: int, line: bytes, at: int) -> None:
        if self._wanted.level:
            shown, _ = last_version(line[-4096:].decode("utf-8", "replace"))
            self._level = line_level(shown, before=self._level)
            if not self._level or LEVELS.index(self._level) < LEVELS.index(self._wanted.level):
                return
        if self._needle and self._needle not in line.lower():
            return
        self.matches += 1
        if self._from_end:
            self._found.append((number, self._shown(number, line, at)))
            if len(self._found) > self._size:
                dropped, _ = self._found.popleft()
                self._skipped.append(dropped)
                self.long_lines.pop(dropped, None)
        elif number < self._start:
            self._before += 1
            self._skipped.append(number)
        elif len(self._found) < self._size:
            self._found.append((number, self._shown(number, line, at)))

    def _shown(self, number: int, line: bytes, at: int) -> str:
        """The text of a line that begins at a position."""
        text = _text(line)
        if len(text) > LINE_CHARACTERS and len(last_version(text)[0]) > LINE_CHARACTERS:
            self.long_lines[number] = LongLine(at, len(line))
        return text

    def _filtered_lines(self) -> list[tuple[int, str]]:
        if self._held:
            self._consider(self._feeds + 1, self._held, self.size_bytes - len(self._held))
            self._held = b""
        return list(self._found)


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE_BYTES:
        line = line.rstrip(b"\r").rpartition(b"\r")[2][:MAX_LINE_BYTES]
    return line.decode("utf-8", "replace")
