"""Starts and ends it all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from evalhub_server import __version__
from evalhub_server.settings import OtelSettings
from evalhub_server.telemetry.benchmarks import BenchmarkSpans
from evalhub_server.telemetry.delivery import Delivery
from evalhub_server.telemetry.exporters import import_exporters
from evalhub_server.telemetry.push import MetricPush
from evalhub_server.telemetry.requests import RequestSpans
from evalhub_server.telemetry.resource import resource_of
from evalhub_server.telemetry.threads import in_thread
from evalhub_server.telemetry.watched import WatchedSpans

log = structlog.get_logger()

SCOPE = "evalhub_server"
SHUTDOWN_S = 1.5
"""How long the end of the server waits for the collector. The SDK's "server stop" kills after five seconds."""


class Telemetry:
    """What ``otel:`` switches on, sent from threads of its own, until :meth:`close`.

    ``runtime`` is the name of the selected runtime. A collector that cannot be reached, or takes nothing, changes
    nothing but the log: what it misses is dropped.

    Raises :class:`StartupError` if a certificate cannot be used.
    """

    def __init__(self, otel: OtelSettings, runtime: str) -> None:
        self._delivery = Delivery(otel.collector)
        self._closers: list[Callable[[], object]] = []
        exporters = import_exporters(otel)(otel)
        resource = resource_of(otel)
        self.requests: RequestSpans | None = None
        self.benchmarks: BenchmarkSpans | None = None
        if otel.enable_tracing:
            provider = TracerProvider(
                sampler=ParentBased(TraceIdRatioBased(otel.sampling_ratio)),
                resource=resource,
                shutdown_on_exit=False,
            )
            provider.add_span_processor(
                BatchSpanProcessor(
                    WatchedSpans(exporters.spans(), self._delivery),
                    schedule_delay_millis=otel.tracer_batch_interval * 1000,
                )
            )
            tracer = provider.get_tracer(SCOPE, __version__)
            self.requests, self.benchmarks = RequestSpans(tracer), BenchmarkSpans(tracer, runtime)
            self._closers.append(provider.shutdown)
        self.metrics: MetricPush | None = None
        self._last_metrics: asyncio.Future[object] | None = None
        if otel.enable_metrics:
            self.metrics = MetricPush(
                exporters.metrics(),
                self._delivery,
                resource,
                InstrumentationScope(SCOPE, __version__),
                otel.metric_export_interval,
            )

    async def stop_looking(self) -> None:
        """Take the last figures, while there are any."""
        if self.metrics is not None:
            self._last_metrics = await self.metrics.last()

    async def close(self) -> None:
        """Send what is left; after :data:`SHUTDOWN_S` seconds what the collector has not taken is dropped."""
        until = time.monotonic() + SHUTDOWN_S
        if self.benchmarks is not None:
            self.benchmarks.close()
        sending = [in_thread(closer, "telemetry-close") for closer in self._closers]
        sending += [self._last_metrics] if self._last_metrics else []
        if sending:
            _, late = await asyncio.wait(sending, timeout=until - time.monotonic())
            if late:
                log.warning("telemetry not sent at shutdown", waited_s=SHUTDOWN_S)
        self._delivery.close()
