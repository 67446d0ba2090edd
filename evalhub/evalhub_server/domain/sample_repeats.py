"""Repeats of samples: the rows of a sample file with the same id, one for each epoch."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from msgspec import Struct

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows
from evalhub_server.models.sample import OUTCOMES

PASSED = OUTCOMES.index("passed")


class SampleRepeats(Struct, frozen=True):
    """The repeats of one sample. ``rows`` are in the order of epochs; ``passed`` is the number of those that passed."""

    rows: Sequence[int]
    passed: int

    @property
    def count(self) -> int:
        return len(self.rows)


def has_repeats(index: SampleIndex) -> bool:
    """Whether samples may have more than one row."""
    return any(index.epochs)


def one_row_per_sample(index: SampleIndex, rows: Rows) -> list[int]:
    """The first row of each sample id, in the order of ``rows``."""
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(index.ids[row], row)
    return list(first.values())


def repeats_of(index: SampleIndex, sample_ids: Collection[str]) -> dict[str, SampleRepeats]:
    """The repeats of samples by id."""
    found: dict[str, list[int]]
    if len(sample_ids) == 1:
        found = {sample_id: _rows_of(index, sample_id) for sample_id in sample_ids}
    else:
        found = {sample_id: [] for sample_id in sample_ids}
        for row, sample_id in enumerate(index.ids):
            if sample_id in found:
                found[sample_id].append(row)
    return {
        sample_id: SampleRepeats(
            sorted(rows, key=index.epochs.__getitem__), sum(index.outcomes[row] == PASSED for row in rows)
        )
        for sample_id, rows in found.items()
    }


def _rows_of(index: SampleIndex, sample_id: str) -> list[int]:
    rows: list[int] = []
    with suppress(ValueError):
        while True:
            rows.append(index.ids.index(sample_id, rows[-1] + 1 if rows else 0))
    return rows


def mean_of(column: Sequence[float], rows: Iterable[int]) -> float | None:
    """The mean of a metric over rows with a value; None if none has one."""
    values = [value for row in rows if not math.isnan(value := column[row])]
    try:
        return math.fsum(values) / len(values) if values else None
    except OverflowError:
        return None
