"""Tables and JSON of measured values: medians, spread and ratios."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.measurements import ROWS, Row

Values = Mapping[tuple[str, str], Mapping[str, Sequence[float]]]
"""By (name, unit), then by version."""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The first column is aligned to the left, the others to the right."""
    lines = (head, ("---", *("---:" for _ in head[1:])), *rows)
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table and an empty line."""
    print(markdown_table(head, rows), flush=True)


def ratio(values: Mapping[str, Sequence[float]], other: str, *, more_is_better: bool) -> float | None:
    """How many times better this tree is than ``other``: the median of the ratios of each round."""
    if other not in values:
        return None
    pairs = zip(values[other], values["this"], strict=True)
    return statistics.median(own / theirs if more_is_better else theirs / own for theirs, own in pairs)


def figure(values: Sequence[float]) -> str:
    """Median (least to greatest)."""
    if not values:
        return ""
    digits = 0 if statistics.median(values) >= 100 else 1
    middle, least, greatest = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return middle if len(values) == 1 else f"{middle} ({least}–{greatest})"


def table(values: Values, versions: Sequence[str]) -> str:
    """One line per row of :data:`ROWS` that was measured."""
    rows = [(row, found) for row in ROWS if (found := values.get((row.name, row.unit)))]
    head = ["measurement", *versions]
    if "before" in versions:
        head.append("before / this")
    if "released" in versions:
        head += ["released / this", "target"]
    return markdown_table(head, [_line(row, found, versions) for row, found in rows])


def _line(row: Row, found: Mapping[str, Sequence[float]], versions: Sequence[str]) -> list[str]:
    columns = [row.against if version == "released" else version for version in versions]
    line = [f"{row.name}, {row.unit}", *(figure(found.get(column, ())) for column in columns)]
    if "before" in versions:
        line.append(_short(ratio(found, "before", more_is_better=row.more_is_better)))
    if "released" in versions:
        better = ratio(found, row.against, more_is_better=row.more_is_better)
        line.append(_short(better))
        if row.target is None or better is None:
            line.append("")
        else:
            line.append(f"{_short(row.target)}{'' if better >= row.target else ' **missed**'}")
    return line


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def document(values: Values) -> dict[str, Any]:
    """All values, for comparison by programs."""
    return {
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "measurements": [
            {
                "name": name,
                "unit": unit,
                "values": found,
                "medians": {version: statistics.median(each) for version, each in found.items()},
            }
            for (name, unit), found in values.items()
        ],
    }
