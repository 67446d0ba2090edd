"""Background writer of log lines: a full pipe, a stopped terminal or a slow disk delays no thread that logs."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TextIO, cast

MAX_LINES = 8192
"""Lines that wait for the stream; further ones are dropped and counted."""
FLUSH_S = 1.0
"""Longest wait at an exit for a stream that is not read."""
GATHER_S = 0.05
"""Pause after a write: the lines of this time share a system call and a thread switch. The first one is written at once."""

Line = str | Callable[[], str]
"""A line without its line feed, or a function that formats it on the writer's thread."""


class LogWriter:
    """Writes lines to a text stream, in order, on a thread of its own.

    A regular file is written at once, without the thread: no reader can delay that, and a crash loses no line. Only lines of
    :meth:`write_later` go through the thread.

    It can be the stream of a :class:`logging.StreamHandler` with an empty terminator. ``dropped_line`` formats the line that
    reports the number of dropped lines as soon as writing works again.
    """

    def __init__(self, stream: TextIO, dropped_line: Callable[[int], str]) -> None:
        self._output = _Output(stream)
        self._dropped_line = dropped_line
        self._direct = self._output.is_regular_file()
        self._lines: SimpleQueue[Line | threading.Event] = SimpleQueue()
        self._filled = threading.Event()
        self._hurry = threading.Event()
        self._lock = threading.RLock()
        self._dropped = 0  # since the last line about them; further attributes are the thread's
        self._lost = 0
        threading.Thread(target=self._run, name="log-writer", daemon=True).start()
        atexit.register(self.drain)

    def write(self, line: Line) -> None:
        """Write a line, or drop it if too many are waiting. Never waits for a reader and never raises."""
        if self._direct:
            with self._lock:
                self._write_queued(line)
        else:
            self.write_later(line)

    def write_later(self, line: Line) -> None:
        """Like :meth:`write`, but also for a regular file the line may wait for :data:`GATHER_S`, or for the next :meth:`write`.

        For lines that are many, and of which a crash may lose the last ones.
        """
        if self._lines.qsize() >= MAX_LINES:
            if self._direct:
                self.write(line)  # with those that wait: a file is never the reason to drop lines
            else:
                self._drop(1)
            return
        self._lines.put(line)
        if not self._filled.is_set():
            self._filled.set()

    def drain(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until all earlier lines are written; False if that takes longer than ``timeout_s``."""
        if self._direct:
            with self._lock:
                self._write_queued()
            return True
        written = threading.Event()
        self._lines.put(written)
        self._filled.set()
        self._hurry.set()
        return written.wait(timeout_s)

    def _run(self) -> None:
        while True:
            self._filled.wait()
            self._filled.clear()
            if self._direct:
                time.sleep(GATHER_S)
                with self._lock:
                    self._write_queued()
            else:
                self._write_queued()
                self._hurry.wait(GATHER_S)
                self._hurry.clear()

    def _write_queued(self, *further: Line) -> None:
        """Write the lines of the queue, then ``further`` ones."""
        dropped = self._dropped  # while the queue was full: before any line that enters it from now on
        batch = [self._lines.get() for _ in range(self._lines.qsize())]
        lines = [line for line in batch if not isinstance(line, threading.Event)]
        if lines or further:
            self._write_lines([*lines, *further], dropped)
        for item in batch:
            if isinstance(item, threading.Event):
                item.set()

    def _write_lines(self, lines: list[Line], dropped: int) -> None:
        lost = self._lost  # in earlier writes that failed
        texts = [self._dropped_line(lost)] if lost else []
        texts += [text for line in lines if (text := self._formatted(line)) is not None]
        if dropped:
            texts.append(self._dropped_line(dropped))
        try:
            self._output.write("".join(f"{text}\n" for text in texts))
        except (OSError, ValueError):  # no reader, a full disk, or a closed stream
            self._lost += len(lines)
        else:
            self._lost -= lost
            self._drop(-dropped)

    def _formatted(self, line: Line) -> str | None:
        try:
            return line if isinstance(line, str) else line()
        except Exception:  # noqa: BLE001 -- whatever it is, the thread must go on
            self._lost += 1
            return None

    def _drop(self, number: int) -> None:
        with self._lock:
            self._dropped += number


class _Output:
    """The unbuffered file below a text stream: what could not be written stays in no buffer."""

    def __init__(self, stream: TextIO) -> None:
        buffer: Any = getattr(stream, "buffer", None)
        raw: Any = getattr(buffer, "raw", buffer)
        self._stream = stream
        self._raw = cast("io.RawIOBase | None", raw)
        self._encoding = stream.encoding or "utf-8" if raw is not None else ""
        with contextlib.suppress(OSError, ValueError):
            stream.flush()

    def is_regular_file(self) -> bool:
        try:
            return self._raw is not None and stat.S_ISREG(os.fstat(self._raw.fileno()).st_mode)
        except (OSError, ValueError):
            return False

    def write(self, text: str) -> None:
        """Write all of ``text``. Raises :class:`OSError` or :class:`ValueError`."""
        if self._raw is None:
            self._stream.write(text)
            self._stream.flush()
            return
        data = memoryview(text.encode(self._encoding, "backslashreplace"))
        while data:
            count = self._raw.write(data)
            if count is None:  # another process has made a shared pipe or terminal non-blocking
                select.select([], [self._raw], [])
            else:
                data = data[count:]
