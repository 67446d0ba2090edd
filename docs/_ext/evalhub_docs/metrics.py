"""Prometheus metrics, from the objects that count them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from evalhub_server.engine.metrics import JobMetrics, job_gauges
from evalhub_server.engine.outbox_metrics import ExportMetrics
from evalhub_server.web.metrics import HttpMetrics, Metrics


class _EmptyStore:
    async def list(self, _: object) -> Any:
        return SimpleNamespace(total_count=0)


def metrics(_: str) -> str:
    """One section per metric of the server: type, labels, buckets and help text."""
    figures = asyncio.run(_metrics().figures())
    sections: dict[str, str] = {}
    for series in figures.counters:
        sections[series.name] = _section(series.name, "Counter", series.labels, series.help)
    for series in figures.histograms:
        # A cell of empty labels knows the bounds; nothing else declares them.
        bounds = ", ".join(f"{bound:g}" for bound in series.cell(*[""] * len(series.labels)).bounds)
        text = f"{series.help}\n\nBuckets: {bounds}."
        sections[series.name] = _section(series.name, "Histogram", series.labels, text)
    for gauge in figures.gauges:
        sections[gauge.name] = _section(gauge.name, "Gauge", gauge.labels, gauge.help)
    return "\n".join(sections[name] for name in sorted(sections))


def _metrics() -> Metrics:
    store: Any = _EmptyStore()
    supervisor: Any = SimpleNamespace(waiting=0, running=0)
    finalizer: Any = SimpleNamespace(owing={}, listen=lambda _: None)
    return Metrics(
        HttpMetrics("http", "127.0.0.1", 8080),
        JobMetrics("local"),
        ExportMetrics(finalizer),
        lambda: job_gauges(store, supervisor),
    )


def _section(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    labelled = f" with the labels {', '.join(f'`{label}`' for label in labels)}" if labels else ""
    return f"## `{name}`\n\n{kind}{labelled}.\n\n{text}\n"
