"""Periodic export of metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from evalhub_server.engine.metric_family import MetricsSnapshot
from evalhub_server.telemetry.export_health import ExportHealth
from evalhub_server.telemetry.metrics import MetricSink, metrics_data
from evalhub_server.telemetry.threads import in_thread

log = structlog.get_logger()

LAST_SNAPSHOT_S = 1.0


class MetricPush:
    """Exports a snapshot of the metrics every ``interval_s`` after :meth:`start`, one export at a time.

    The server's own counters are sent: instruments of the SDK would count everything twice.
    """

    def __init__(
        self,
        sink: MetricSink,
        health: ExportHealth,
        resource: Resource,
        scope: InstrumentationScope,
        interval_s: float,
    ) -> None:
        self._sink = sink
        self._health = health
        self._resource = resource
        self._scope = scope
        self._interval_s = interval_s
        self._start_ns = time.time_ns()
        self._snapshot: Callable[[], Awaitable[MetricsSnapshot]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[object] | None = None

    def start(self, snapshot: Callable[[], Awaitable[MetricsSnapshot]]) -> None:
        self._snapshot = snapshot
        self._task = asyncio.create_task(self._push_periodically(snapshot), name="telemetry-metrics")

    async def last(self) -> asyncio.Future[object] | None:
        """Stop, and start a last export; returns its future, or None if there is nothing to send."""
        if self._task is None or self._snapshot is None:
            return None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._sending is not None and not self._sending.done():
            return self._sending  # the collector hangs; a further export would wait for this one
        try:
            return self._send(await asyncio.wait_for(self._snapshot(), LAST_SNAPSHOT_S))
        except Exception as error:
            log.error("Metrics not sent", exc_info=error)
            return None

    async def _push_periodically(self, snapshot: Callable[[], Awaitable[MetricsSnapshot]]) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await asyncio.shield(self._send(await snapshot()))
            except Exception as error:
                log.error("Metrics not sent", exc_info=error)

    def _send(self, snapshot: MetricsSnapshot) -> asyncio.Future[object]:
        self._sending = in_thread(partial(self._export, snapshot, time.time_ns()), "telemetry-metrics")
        return self._sending

    def _export(self, snapshot: MetricsSnapshot, now_ns: int) -> object:
        data = metrics_data(snapshot, self._resource, self._scope, self._start_ns, now_ns)
        return self._health.watch("metrics", partial(self._sink.export, data))
