"""Tables and JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from evalhub_server.cli.output import write
from evalhub_server.console_log import escaped


def print_json(value: Any) -> None:
    """Print JSON with indentation."""
    write(msgspec.json.format(msgspec.json.encode(value)).decode() + "\n")


def print_lines(lines: Iterable[str]) -> None:
    """Print lines without control characters."""
    write("".join(f"{escaped(line)}\n" for line in lines))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: with a frame on a terminal, otherwise in columns that are separated by two spaces."""
    cells = [[escaped(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        write(_framed(headers, cells))
        return
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    for row in (headers, *cells):
        write("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")


def _framed(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for header in headers:
        table.add_column(header, overflow="fold")  # ids are copied into other commands
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console()
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def number(value: Any) -> str:
    """Four significant digits of a float; other values as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def duration(seconds: float | None) -> str:
    """A duration as hours, minutes and seconds."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
