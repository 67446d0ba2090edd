"""Console output of an adapter. The server captures both streams in the benchmark's ``jobrun.log``."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print one line of progress, without buffering, so that the log can be followed."""
    print(line, flush=True)  # noqa: T201  the log is standard output


def complain(program: str, line: str) -> None:
    """Print one line on standard error, with the program's name."""
    print(f"{program}: {line}", file=sys.stderr, flush=True)  # noqa: T201
