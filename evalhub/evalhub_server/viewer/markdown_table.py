"""Rows of a page as a Markdown table, for quotation in issues and reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from evalhub_server.domain.table_formats import markdown_lines, plain_cell
from evalhub_server.viewer.text import visible

CELL_CHARACTERS = 4096
"""Maximum length of a text in a cell."""


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """A table of GitHub Flavored Markdown, in which foreign text has no invisible characters.

    The place that it is pasted into shows it beside other text, as the page does.
    """
    return markdown_lines(columns, ([_cell(cell) for cell in row] for row in rows))


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    return value if isinstance(value, int | float) else visible(plain_cell(value), CELL_CHARACTERS)
