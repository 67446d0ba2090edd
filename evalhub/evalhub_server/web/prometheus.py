"""Metrics as text. Importing this imports prometheus-client, which takes a while: so only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from evalhub_server.engine.series import Figures


class Exposition(Collector):
    """What is given, and what is in prometheus-client's own registry: the process's figures, and those of plugins."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def text(self) -> bytes:
        """In the text format 0.0.4."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        for series in self._figures.counters:
            counter = CounterMetricFamily(series.name, series.help, labels=series.labels)
            for labels, count in series.cells().items():
                counter.add_metric(labels, count.value)
            yield counter
        for series in self._figures.histograms:
            histogram = HistogramMetricFamily(series.name, series.help, labels=series.labels)
            for labels, cell in series.cells().items():
                bounds = (*(f"{bound:g}" for bound in cell.bounds), "+Inf")
                # One copy, or an observation meanwhile would make a bucket larger than the next.
                buckets = list(zip(bounds, accumulate(cell.counts.copy()), strict=True))
                histogram.add_metric(labels, buckets, cell.sum)
            yield histogram
        for gauge in self._figures.gauges:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
            for labels, value in gauge.values.items():
                family.add_metric(labels, value)
            yield family
        yield from REGISTRY.collect()
