"""The state of source files, for caches of what they compute."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def code_state(files: Iterable[Path]) -> str:
    """A text that changes when one of the files does; found without reading them."""
    states = [(path.name, path.stat()) for path in sorted(files)]
    return repr([(name, int(state.st_mtime), state.st_size) for name, state in states])
