"""Metrics of the outbox: export attempts, and a gauge of pending exports."""

from __future__ import annotations

from functools import partial

from evalhub_server.engine.metric_family import CounterValue, Gauge, HistogramValue, MetricFamily
from evalhub_server.engine.outbox import ExportAttempt, Outbox

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Histogram bounds for durations; an attempt times out after two minutes."""


class ExportMetrics:
    """Listens to an :class:`Outbox`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.attempts = MetricFamily(
            "evalhub_export_attempts_total",
            "Attempts to send results of jobs to a tracker or exporter, by result.",
            ("kind", "name", "result"),
            CounterValue,
        )
        self.seconds = MetricFamily(
            "evalhub_export_attempt_duration_seconds",
            "Duration of attempts to send results of jobs.",
            ("kind", "name"),
            partial(HistogramValue, SECONDS),
        )
        self.counters = (self.attempts,)
        self.histograms = (self.seconds,)
        outbox.listen(self._on_attempt)

    def gauge(self) -> Gauge:
        return Gauge(
            name="evalhub_exports_owed",
            help="Jobs with pending exports to a tracker or exporter.",
            label_names=("kind", "name"),
            values=dict(self._outbox.pending),
        )

    def _on_attempt(self, attempt: ExportAttempt) -> None:
        self.attempts.labels(attempt.kind, attempt.name, attempt.result).inc()
        self.seconds.labels(attempt.kind, attempt.name).observe(attempt.seconds)
