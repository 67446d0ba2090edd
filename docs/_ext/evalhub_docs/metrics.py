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
    snapshot = asyncio.run(_metrics().snapshot())
    sections: dict[str, str] = {}
    for family in snapshot.counters:
        sections[family.name] = _section(family.name, "Counter", family.label_names, family.help)
    for family in snapshot.histograms:
        # A series with empty labels has the bounds; nothing else declares them.
        bounds = ", ".join(f"{bound:g}" for bound in family.labels(*[""] * len(family.label_names)).bounds)
        text = f"{family.help}\n\nBuckets: {bounds}."
        sections[family.name] = _section(family.name, "Histogram", family.label_names, text)
    for gauge in snapshot.gauges:
        sections[gauge.name] = _section(gauge.name, "Gauge", gauge.label_names, gauge.help)
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
