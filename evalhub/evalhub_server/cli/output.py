"""What commands print, and what happens when nobody can take it."""

from __future__ import annotations

import contextlib
import os
import sys

from evalhub_server.errors import EvalHubError


class OutputError(EvalHubError):
    """Standard output takes nothing more. ``closed``: by its reader, who has seen enough, such as ``head``."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}.")
        self.closed = isinstance(error, BrokenPipeError)


def write(text: str) -> None:
    """Print ``text`` as it is. Raises :class:`OutputError`."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _let_go()
        raise OutputError(error) from None


def _let_go() -> None:
    """Python would try once more to write the rest when it ends, and complain."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
