"""Figures that grow, one cell for each combination of label values, kept as plain numbers.

``evalhub_server/web/exposition.py`` hands them to prometheus-client when somebody asks. Its own counters would be there
at every start and in every request: the import takes some 40 ms of CPU, an observation several times what one here
does.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic, TypeVar

import structlog
from msgspec import Struct

log = structlog.get_logger()

OTHER = "other"
MAX_SERIES = 1000
MAX_LABEL_CHARS = 128

Labels = tuple[str, ...]


class Count:
    """How often something happened."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


class Distribution:
    """How many values fell between which bounds, and their sum. ``counts`` has one more than ``bounds``, for the rest."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Gauge(Struct, kw_only=True, frozen=True):
    """Values of now, by label values."""

    name: str
    help: str
    labels: Labels = ()
    values: Mapping[Labels, float]


C = TypeVar("C", Count, Distribution)


class Series(Generic[C]):
    """The cells of one metric.

    ``open_labels`` are those whose values clients choose. So that nobody can fill the memory, or a Prometheus server, by
    inventing names, there are at most ``max_series`` cells; what comes beyond them, and a name of more than
    :data:`MAX_LABEL_CHARS` characters, counts as ``other``.
    """

    def __init__(
        self,
        name: str,
        help_: str,
        labels: Labels,
        make: Callable[[], C],
        *,
        open_labels: Collection[str] = (),
        max_series: int = MAX_SERIES,
    ) -> None:
        self.name = name
        self.help = help_
        self.labels = labels
        self._make = make
        self._open = [label in open_labels for label in labels]
        self._max_series = max_series
        self._cells: dict[Labels, C] = {}
        self._full = False

    def cell(self, *values: str) -> C:
        """The cell of these label values, in the order of ``labels``."""
        cell = self._cells.get(values)
        return self._admit(values) if cell is None else cell

    def cells(self) -> dict[Labels, C]:
        """A copy, since other threads read it while cells are added."""
        return self._cells.copy()

    def _admit(self, values: Labels) -> C:
        if any(self._open):
            full = len(self._cells) >= self._max_series
            if full and not self._full:
                log.warning(
                    f"metric has {self._max_series} series; further names count as '{OTHER}'",
                    metric=self.name,
                )
                self._full = True
            values = tuple(
                OTHER if is_open and (full or len(value) > MAX_LABEL_CHARS) else value
                for is_open, value in zip(self._open, values, strict=True)
            )
        return self._cells.setdefault(values, self._make())


class Figures(Struct, kw_only=True, frozen=True):
    """Everything that is counted, at one moment; the series go on counting."""

    counters: Sequence[Series[Count]]
    histograms: Sequence[Series[Distribution]]
    gauges: Sequence[Gauge]
