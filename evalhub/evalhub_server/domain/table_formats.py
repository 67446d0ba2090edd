"""Tables as text: CSV, Markdown, LaTeX and JSON, in pieces that can be streamed."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FORMULA = re.compile(rf"(?!{_NUMBER}\Z)[=+\-@\t\r\n]")
_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_LATEX_SPECIAL = re.compile(r"[\\&%$#_{}~^]")
_encode = msgspec.json.Encoder(order="deterministic").encode


def spreadsheet_text(text: str) -> str:
    """The text with a leading apostrophe if a spreadsheet would take it for a formula; ``-5`` is a number."""
    return f"'{text}" if _FORMULA.match(text) else text


def plain_cell(value: Any) -> str:
    """A value as text: empty for None and numbers that are not finite, else as JSON writes it; text as it is."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value if isinstance(value, str) else _encode(value).decode()


def csv_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """RFC 4180, UTF-8. Texts that a spreadsheet would take for formulas get a leading apostrophe; numbers do not."""
    for row in _with_header(columns, rows):
        yield csv_line(spreadsheet_text(cell) if isinstance(cell, str) else plain_cell(cell) for cell in row)


def csv_line(cells: Iterable[object]) -> bytes:
    """One row of CSV, with the cells as they are; None is empty."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode(errors="replace")


def json_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """A JSON array with an object for each row."""
    opening = b"["
    for row in rows:
        yield opening + b"\n" + _encode(dict(zip(columns, row, strict=True)))
        opening = b","
    yield b"[]\n" if opening == b"[" else b"\n]\n"


def markdown_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """A table of GitHub Flavored Markdown."""
    yield _markdown_row(columns)
    yield _markdown_row(["---"] * len(columns))
    for row in rows:
        yield _markdown_row([_one_line(cell) for cell in row])


def escaped_markdown(text: str) -> str:
    """The text with backslashes before characters that have a meaning in Markdown or HTML."""
    return re.sub(r"([\\|<>`*_\[\]])", r"\\\1", text)


def _markdown_row(cells: Sequence[str]) -> bytes:
    escaped = (escaped_markdown(cell) if cell != "---" else cell for cell in cells)
    return f"| {' | '.join(escaped)} |\n".encode(errors="replace")


def latex_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """A ``tabular`` environment with the rules of the package booktabs."""
    yield f"\\begin{{tabular}}{{{'l' * len(columns)}}}\n\\toprule\n".encode()
    yield _latex_row(columns) + b"\\midrule\n"
    for row in rows:
        yield _latex_row([_one_line(cell) for cell in row])
    yield b"\\bottomrule\n\\end{tabular}\n"


def _latex_row(cells: Sequence[str]) -> bytes:
    escaped = (_LATEX_SPECIAL.sub(lambda match: _LATEX[match[0]], cell) for cell in cells)
    return f"{' & '.join(escaped)} \\\\\n".encode(errors="replace")


def _one_line(value: Any) -> str:
    """A cell without line breaks; numbers rounded for people, to six significant digits."""
    text = f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else plain_cell(value)
    return " ".join(text.split())


def _with_header(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    yield columns
    yield from rows


FORMATS: dict[str, tuple[str, Callable[[Sequence[str], Iterable[Sequence[Any]]], Iterator[bytes]]]] = {
    "json": ("application/json", json_lines),
    "csv": ("text/csv; charset=utf-8", csv_lines),
    "md": ("text/markdown; charset=utf-8", markdown_lines),
    "latex": ("application/x-latex; charset=utf-8", latex_lines),
}
"""Media type and writer by the name of the format."""
