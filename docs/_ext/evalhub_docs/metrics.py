"""Prometheus metrics, from the objects that count them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import Any, Self

from evalhub_server.engine.leadership import Role
from evalhub_server.engine.metric_family import Gauge
from evalhub_server.engine.metrics import JobMetrics, job_gauges
from evalhub_server.engine.observers import ObserverDispatcher
from evalhub_server.engine.outbox_metrics import ExportMetrics
from evalhub_server.engine.server_state import ServerState
from evalhub_server.engine.stored_bytes import stored_gauge
from evalhub_server.web.metrics import HttpMetrics, Metrics


class _Idle:
    """Stands for the store, the supervisor and the outbox of a server that has done nothing: only names and labels matter."""

    def __getattr__(self, name: str) -> Self:
        return self

    def __call__(self, *_: object) -> Self:
        return self

    def __await__(self) -> Generator[None, None, Self]:
        yield
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __add__(self, other: object) -> Self:
        return self


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
    idle: Any = _Idle()
    return Metrics(
        HttpMetrics("http", "127.0.0.1", 8080),
        JobMetrics("local"),
        ExportMetrics(idle),
        ObserverDispatcher([]),
        _gauges,
    )


async def _gauges() -> list[Gauge]:
    idle: Any = _Idle()
    state = ServerState()
    state.set_role(Role.LEADER)
    found = await job_gauges(idle, idle, idle, state)
    return [*(gauge for gauge in found if isinstance(gauge, Gauge)), stored_gauge({})]


def _section(name: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    labelled = f" with the labels {', '.join(f'`{label}`' for label in labels)}" if labels else ""
    return f"## `{name}`\n\n{kind}{labelled}.\n\n{text}\n"
