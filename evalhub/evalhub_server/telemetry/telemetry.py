"""Starts and ends it all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Tracer

from evalhub_server import __version__
from evalhub_server.engine.job_store import JobStore
from evalhub_server.logs import mirror_logs
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import OtelSettings
from evalhub_server.telemetry.adapter_logs import ContainerLogs
from evalhub_server.telemetry.benchmarks import BenchmarkSpans
from evalhub_server.telemetry.export_health import Delivery, WatchedLogs, WatchedSpans
from evalhub_server.telemetry.exporters import import_exporters
from evalhub_server.telemetry.logs import LogMirror
from evalhub_server.telemetry.metrics_push import MetricPush
from evalhub_server.telemetry.requests import RequestSpans
from evalhub_server.telemetry.resource import resource_of
from evalhub_server.telemetry.threads import in_thread

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
        self._otel = otel
        self._delivery = Delivery(otel.collector)
        self._closers: list[Callable[[], object]] = []
        self._exporters = import_exporters(otel)(otel)
        self._resource = resource_of(otel)
        self.requests: RequestSpans | None = None
        self.benchmarks: BenchmarkSpans | None = None
        self.metrics: MetricPush | None = None
        self._last_metrics: asyncio.Future[object] | None = None
        self._logs: LoggerProvider | None = None
        self._end_mirror: Callable[[], None] | None = None
        self._container_logs: ContainerLogs | None = None
        if otel.enable_tracing:
            tracer = self._tracer(otel)
            self.requests, self.benchmarks = RequestSpans(tracer), BenchmarkSpans(tracer, runtime)
        if otel.enable_metrics:
            scope = InstrumentationScope(SCOPE, __version__)
            sink, interval_s = self._exporters.metrics(), otel.metric_export_interval
            self.metrics = MetricPush(sink, self._delivery, self._resource, scope, interval_s)
        if otel.enable_logs:
            self._logs = self._logger_provider()
            self._end_mirror = mirror_logs(LogMirror(self._logs.get_logger(SCOPE, __version__)))

    def listen(self, store: JobStore, runtime: Runtime) -> None:
        """Hear of changes of jobs, and read logs of adapters in ``runtime``."""
        if self._logs is not None and self._otel.enable_job_container_logs:
            context_of = self.benchmarks.context if self.benchmarks else _no_span
            logger = self._logs.get_logger(f"{SCOPE}.adapter")
            self._container_logs = ContainerLogs(runtime, logger, self._logs.force_flush, context_of)
            store.listen(self._container_logs.on_change)
        if self.benchmarks is not None:
            store.listen(self.benchmarks.on_change)

    async def stop_reading(self) -> None:
        """Read no logs any more; the runtime is still open."""
        if self._container_logs is not None:
            await self._container_logs.close()

    async def stop_looking(self) -> None:
        """Take the last figures; the storage is still open."""
        if self.metrics is not None:
            self._last_metrics = await self.metrics.last()

    async def close(self) -> None:
        """Send what is left; after :data:`SHUTDOWN_S` seconds what the collector has not taken is dropped."""
        if self.benchmarks is not None:
            self.benchmarks.close()
        if self._end_mirror is not None:
            self._end_mirror()
        sending = [in_thread(closer, "telemetry-close") for closer in self._closers]
        sending += [self._last_metrics] if self._last_metrics else []
        if sending:
            _, late = await asyncio.wait(sending, timeout=SHUTDOWN_S)
            if late:
                log.warning("telemetry not sent at shutdown", waited_s=SHUTDOWN_S)
        self._delivery.close()

    def _tracer(self, otel: OtelSettings) -> Tracer:
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(otel.sampling_ratio)),
            resource=self._resource,
            shutdown_on_exit=False,
        )
        exporter = WatchedSpans(self._exporters.spans(), self._delivery)
        interval_ms = otel.tracer_batch_interval * 1000
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=interval_ms))
        self._closers.append(provider.shutdown)
        return provider.get_tracer(SCOPE, __version__)

    def _logger_provider(self) -> LoggerProvider:
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        exporter = WatchedLogs(self._exporters.logs(), self._delivery)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._closers.append(provider.shutdown)
        return provider


def _no_span(_job_id: str, _index: int) -> Context:
    return Context()
