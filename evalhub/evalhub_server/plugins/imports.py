"""Import of a plugin, watched: how long it takes, what it prints, and which warnings it causes."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import IO, Any, cast

from evalhub_server.plugins.deprecations import PluginDeprecationWarning

SLOW_S = 1.0
"""Duration of an import that is reported: each command of the server waits for it."""
SHOWN_CHARACTERS = 200


class WatchedImport:
    """What :func:`watched_import` has seen: ``seconds``, and ``faults``, one phrase for each."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.faults: list[str] = []


@contextmanager
def watched_import() -> Generator[WatchedImport]:
    """Watch the body. What it prints appears on standard error: the output of commands may be read by programs."""
    seen, console = WatchedImport(), _Console(sys.stderr)
    stream = cast("IO[str]", console)
    begin = time.perf_counter()
    with redirect_stdout(stream), redirect_stderr(stream), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginDeprecationWarning)
        yield seen
    seen.seconds = time.perf_counter() - begin
    if seen.seconds > SLOW_S:
        seen.faults.append(
            f"importing its plugin took {seen.seconds:.1f} s; the factory is the place for heavy imports"
        )
    if console.text.strip():
        seen.faults.append(f"its plugin printed while it was imported: {_shown(console.text)}")
    for each in caught:
        if issubclass(each.category, PluginDeprecationWarning):
            seen.faults.append(f"its plugin uses what will be removed: {each.message}")
        else:
            text = f"{each.category.__name__}: {each.message}"
            seen.faults.append(f"its plugin warned while it was imported: {_shown(text)}")


class _Console:
    """A stream that notes what is written. A log handler that keeps it writes to the original stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.text = ""

    def write(self, text: str) -> int:
        if len(self.text) <= SHOWN_CHARACTERS:
            self.text += text
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…")
