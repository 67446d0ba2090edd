"""Rows of compared samples: filters by labels, counts of labels, and orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from evalhub_server.domain.facets import facet_values
from evalhub_server.domain.statistics.changes import ItemChanges
from evalhub_server.models.sample import Facet

SORTS = ("change", "-delta", "delta", "sample_id", "-sample_id")
"""``change``: in the order of changes, the largest difference first. ``delta``: by the size of the difference."""

Labels = Mapping[str, Sequence[str]]
"""By name, a label for each row; empty for rows without one."""


def select_rows(
    rows: Sequence[int], labels: Labels, wanted: Mapping[str, Collection[str]], facets: Collection[str]
) -> tuple[list[int], tuple[Facet, ...]]:
    """Those of the rows that have one of the wanted labels under each name, and the facets.

    A facet counts the rows that all conditions except its own select.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in facets}
    found: list[int] = []
    for row in rows:
        refusing = [name for name, values in wanted.items() if labels[name][row] not in values]
        if not refusing:
            found.append(row)
        if len(refusing) > 1:
            continue
        for name in facets:
            if not refusing or refusing == [name]:
                counts[name][labels[name][row]] += 1
    return found, tuple(
        Facet(name=name, distinct=len(count), values=facet_values(count)) for name, count in counts.items()
    )


def sorted_rows(rows: Sequence[int], changes: ItemChanges, sort: str) -> list[int]:
    """The rows, which are in the order of changes, in the order of ``sort``."""
    descending = sort.startswith("-")
    match sort.removeprefix("-"):
        case "delta":
            sizes = {row: max(abs(column[row]) for column in changes.differences) for row in rows}
            return sorted(rows, key=sizes.__getitem__, reverse=descending)
        case "sample_id":
            return sorted(rows, key=changes.ids.__getitem__, reverse=descending)
        case _:
            return list(rows)
