"""Metrics in Prometheus's text format. Imported on the first scrape: prometheus-client is slow to import."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from evalhub_server.engine.metric_family import MetricsSnapshot


class Exposition(Collector):
    """The given metrics and those of prometheus-client's registry: metrics of the process and of plugins."""

    def __init__(self, snapshot: MetricsSnapshot) -> None:
        self._snapshot = snapshot

    def text(self) -> bytes:
        """The metrics in text format 0.0.4."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        for family in self._snapshot.counters:
            counter = CounterMetricFamily(family.name, family.help, labels=family.label_names)
            for labels, count in family.series().items():
                counter.add_metric(labels, count.value)
            yield counter
        for family in self._snapshot.histograms:
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.label_names)
            for labels, series in family.series().items():
                bounds = (*(f"{bound:g}" for bound in series.bounds), "+Inf")
                # A copy: an observation meanwhile could make a bucket larger than the next one.
                buckets = list(zip(bounds, accumulate(series.counts.copy()), strict=True))
                histogram.add_metric(labels, buckets, series.sum)
            yield histogram
        for gauge in self._snapshot.gauges:
            family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.label_names)
            for labels, value in gauge.values.items():
                family.add_metric(labels, value)
            yield family
        yield from REGISTRY.collect()
