"""Metric families: counters and histograms kept as plain numbers, one series per combination of label values.

``evalhub_server/web/prometheus.py`` converts them for prometheus-client on request. Its own counters would burden every
start (the import takes some 40 ms of CPU) and every request (an observation costs several times as much).
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


class CounterValue:
    """A count of events."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1


class HistogramValue:
    """Counts of observed values by upper bound, and their sum.

    ``counts`` has one element more than ``bounds``, for values above the last bound.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Gauge(Struct, kw_only=True, frozen=True):
    """Current values by label values."""

    name: str
    help: str
    label_names: Labels = ()
    values: Mapping[Labels, float]


V = TypeVar("V", CounterValue, HistogramValue)


class MetricFamily(Generic[V]):
    """A counter or a histogram with its series.

    ``open_labels`` are those whose values clients choose. To bound the memory of this server and of Prometheus, a
    family has at most ``max_series`` series: in further ones, the values of open labels are replaced with ``other``.
    So are values longer than :data:`MAX_LABEL_CHARS`.
    """

    def __init__(
        self,
        name: str,
        help_: str,
        label_names: Labels,
        new_value: Callable[[], V],
        *,
        open_labels: Collection[str] = (),
        max_series: int = MAX_SERIES,
    ) -> None:
        self.name = name
        self.help = help_
        self.label_names = label_names
        self._new_value = new_value
        self._open = [label in open_labels for label in label_names]
        self._max_series = max_series
        self._series: dict[Labels, V] = {}
        self._full = False

    def labels(self, *values: str) -> V:
        """The series with these label values, in the order of ``label_names``; created if there is none."""
        series = self._series.get(values)
        return self._add(values) if series is None else series

    def series(self) -> dict[Labels, V]:
        """All series by label values. A copy, since other threads read it while series are added."""
        return self._series.copy()

    def _add(self, values: Labels) -> V:
        if any(self._open):
            full = len(self._series) >= self._max_series
            if full and not self._full:
                log.warning(
                    f"Metric reached its limit of series; new label values count as '{OTHER}'",
                    metric=self.name,
                    limit=self._max_series,
                )
                self._full = True
            values = tuple(
                OTHER if is_open and (full or len(value) > MAX_LABEL_CHARS) else value
                for is_open, value in zip(self._open, values, strict=True)
            )
        return self._series.setdefault(values, self._new_value())


class MetricsSnapshot(Struct, kw_only=True, frozen=True):
    """All metrics at one moment. The families are the live ones and keep counting."""

    counters: Sequence[MetricFamily[CounterValue]]
    histograms: Sequence[MetricFamily[HistogramValue]]
    gauges: Sequence[Gauge]
