"""Standard output of commands, and errors of writing to it."""

from __future__ import annotations

import contextlib
import os
import sys

from evalhub_server.errors import EvalHubError


class OutputError(EvalHubError):
    """Writing to standard output failed. ``closed``: the reader, such as ``head``, has closed the pipe."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}.")
        self.closed = isinstance(error, BrokenPipeError)


def write(text: str) -> None:
    """Print ``text`` without a line feed. Raises :class:`OutputError`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _discard_buffer()
        raise OutputError(error) from None


def write_bytes(data: bytes) -> None:
    """Write bytes to standard output. Raises :class:`OutputError`."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        _discard_buffer()
        raise OutputError(error) from None


def _discard_buffer() -> None:
    """Redirect standard output to /dev/null, or Python would retry the write at exit and print a warning."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as null:  # noqa: PTH123
        os.dup2(null.fileno(), sys.stdout.fileno())
