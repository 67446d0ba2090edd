"""Sends metrics again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from evalhub_server.engine.metric_family import MetricsSnapshot
from evalhub_server.telemetry.export_health import Delivery
from evalhub_server.telemetry.metrics import MetricSink, metrics_data
from evalhub_server.telemetry.threads import in_thread

log = structlog.get_logger()

LAST_LOOK_S = 1.0


class MetricPush:
    """Once :meth:`start` has been called, ``snapshot`` is called and its result exported every ``interval_s``, one after the other.

    The SDK's own instruments would count everything a second time.
    """

    def __init__(
        self,
        sink: MetricSink,
        delivery: Delivery,
        resource: Resource,
        scope: InstrumentationScope,
        interval_s: float,
    ) -> None:
        self._sink = sink
        self._delivery = delivery
        self._resource = resource
        self._scope = scope
        self._interval_s = interval_s
        self._start_ns = time.time_ns()
        self._snapshot: Callable[[], Awaitable[MetricsSnapshot]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._sending: asyncio.Future[object] | None = None

    def start(self, snapshot: Callable[[], Awaitable[MetricsSnapshot]]) -> None:
        self._snapshot = snapshot
        self._task = asyncio.create_task(self._push_for_ever(snapshot), name="telemetry-metrics")

    async def last(self) -> asyncio.Future[object] | None:
        """Stop, and begin to send what is true now. What is returned is done when it has been sent; None: there is nothing."""
        if self._task is None or self._snapshot is None:
            return None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._sending is not None and not self._sending.done():
            return self._sending  # the collector hangs, and another export would hang behind this one
        try:
            return self._send(await asyncio.wait_for(self._snapshot(), LAST_LOOK_S))
        except Exception as error:
            log.error("metrics not sent", exc_info=error)
            return None

    async def _push_for_ever(self, snapshot: Callable[[], Awaitable[MetricsSnapshot]]) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await asyncio.shield(self._send(await snapshot()))
            except Exception as error:
                log.error("metrics not sent", exc_info=error)

    def _send(self, snapshot: MetricsSnapshot) -> asyncio.Future[object]:
        self._sending = in_thread(partial(self._export, snapshot, time.time_ns()), "telemetry-metrics")
        return self._sending

    def _export(self, snapshot: MetricsSnapshot, now_ns: int) -> object:
        data = metrics_data(snapshot, self._resource, self._scope, self._start_ns, now_ns)
        return self._delivery.watch("metrics", partial(self._sink.export, data))
