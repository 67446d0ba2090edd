"""Lifecycle of traces, metrics and logs, and the OpenTelemetry resource that describes the server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
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
from evalhub_server.telemetry.adapter_logs import AdapterLogs
from evalhub_server.telemetry.benchmark_spans import BenchmarkSpans
from evalhub_server.telemetry.export_health import ExportHealth, WatchedLogs, WatchedSpans
from evalhub_server.telemetry.exporters import import_exporters
from evalhub_server.telemetry.log_mirror import LogMirror
from evalhub_server.telemetry.metrics_push import MetricPush
from evalhub_server.telemetry.request_spans import RequestSpans
from evalhub_server.telemetry.threads import in_thread

log = structlog.get_logger()

SCOPE = "evalhub_server"
SERVICE_NAME = "eval-hub-server"
UNNAMED = "unknown_service"
"""Prefix of the SDK's default service name."""
SHUTDOWN_S = 1.5
"""Limit for sending what is left at shutdown. The SDK's "server stop" sends SIGKILL after five seconds."""


class Telemetry:
    """The signals that section ``otel`` enables, sent from their own threads until :meth:`close`.

    ``runtime`` is the name of the selected runtime. Data that the collector does not accept are dropped and reported in
    the log; the server is not affected.

    Raises :class:`StartupError` if a certificate cannot be used.
    """

    def __init__(self, otel: OtelSettings, runtime: str) -> None:
        self._otel = otel
        self._health = ExportHealth(otel.collector)
        self._closers: list[Callable[[], object]] = []
        self._exporters = import_exporters(otel)(otel)
        self._resource = resource_of(otel)
        self.requests: RequestSpans | None = None
        self.benchmarks: BenchmarkSpans | None = None
        self.metrics: MetricPush | None = None
        self._last_metrics: asyncio.Future[object] | None = None
        self._logs: LoggerProvider | None = None
        self._stop_mirror: Callable[[], None] | None = None
        self._adapter_logs: AdapterLogs | None = None
        if otel.enable_tracing:
            tracer = self._tracer(otel)
            self.requests, self.benchmarks = RequestSpans(tracer), BenchmarkSpans(tracer, runtime)
        if otel.enable_metrics:
            scope = InstrumentationScope(SCOPE, __version__)
            sink, interval_s = self._exporters.metrics(), otel.metric_export_interval
            self.metrics = MetricPush(sink, self._health, self._resource, scope, interval_s)
        if otel.enable_logs:
            self._logs = self._logger_provider()
            self._stop_mirror = mirror_logs(LogMirror(self._logs.get_logger(SCOPE, __version__)))

    def observe(self, store: JobStore, runtime: Runtime) -> None:
        """Follow the changes of jobs, and read logs of adapters from ``runtime``."""
        if self._logs is not None and self._otel.enable_job_container_logs:
            context_of = self.benchmarks.context if self.benchmarks else _no_span
            logger = self._logs.get_logger(f"{SCOPE}.adapter")
            self._adapter_logs = AdapterLogs(runtime, logger, self._logs.force_flush, context_of)
            store.listen(self._adapter_logs.on_change)
        if self.benchmarks is not None:
            store.listen(self.benchmarks.on_change)

    async def stop_adapter_logs(self) -> None:
        """Stop reading logs of adapters. Called while the runtime is open."""
        if self._adapter_logs is not None:
            await self._adapter_logs.close()

    async def stop_metrics(self) -> None:
        """Collect metrics for the last time. Called while the storage is open."""
        if self.metrics is not None:
            self._last_metrics = await self.metrics.last()

    async def close(self) -> None:
        """Send what is left; data that the collector has not accepted after :data:`SHUTDOWN_S` seconds are dropped."""
        if self.benchmarks is not None:
            self.benchmarks.close()
        if self._stop_mirror is not None:
            self._stop_mirror()
        sending = [in_thread(closer, "telemetry-close") for closer in self._closers]
        sending += [self._last_metrics] if self._last_metrics else []
        if sending:
            _, late = await asyncio.wait(sending, timeout=SHUTDOWN_S)
            if late:
                log.warning("Telemetry not sent at shutdown", waited_s=SHUTDOWN_S)
        self._health.close()

    def _tracer(self, otel: OtelSettings) -> Tracer:
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(otel.sampling_ratio)),
            resource=self._resource,
            shutdown_on_exit=False,
        )
        exporter = WatchedSpans(self._exporters.spans(), self._health)
        interval_ms = otel.tracer_batch_interval * 1000
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=interval_ms))
        self._closers.append(provider.shutdown)
        return provider.get_tracer(SCOPE, __version__)

    def _logger_provider(self) -> LoggerProvider:
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        exporter = WatchedLogs(self._exporters.logs(), self._health)
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        self._closers.append(provider.shutdown)
        return provider


def _no_span(_job_id: str, _index: int) -> Context:
    return Context()


def resource_of(otel: OtelSettings) -> Resource:
    """The resource of this server.

    Precedence, lowest to highest: defaults, ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``, settings.
    """
    named = {"service.name": otel.service_name, "service.version": otel.service_version}
    settings = {**otel.additional_attributes, **{key: value for key, value in named.items() if value}}
    configured = Resource.create(settings)
    if str(configured.attributes.get("service.name", UNNAMED)).startswith(UNNAMED):
        configured = configured.merge(Resource({"service.name": SERVICE_NAME}))
    defaults = {"service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    return Resource(defaults).merge(configured)
