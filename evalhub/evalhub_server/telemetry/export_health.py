"""Health of telemetry export: logs once when the collector stops accepting data, and once when it accepts it again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TypeVar

import structlog
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger()

R = TypeVar("R", bound=Enum)

_ADVICE = (
    "The data are dropped; evaluations are not affected. Check that a collector listens at "
    "otel.exporter_endpoint for otel.exporter_type (otlp-grpc: usually port 4317, otlp-http: 4318), and that "
    "otel.exporter_insecure is true if and only if it does not use TLS (for a private "
    "authority, set OTEL_EXPORTER_OTLP_CERTIFICATE=ca.pem); or set otel.enabled: false."
)


class ExportHealth:
    """Result of the last export of each signal (traces, metrics, logs).

    Exporters log every failed attempt to the standard library's logger ``opentelemetry``. Until :meth:`close`, these records
    are handled here instead of being written to the log.
    """

    def __init__(self, collector: str) -> None:
        self._collector = collector
        self._lock = threading.Lock()
        self._failing: set[str] = set()
        self._quiet = False
        self._local = threading.local()
        self._logger = logging.getLogger("opentelemetry")
        self._handler = _Handler(self)
        self._propagated = self._logger.propagate
        self._logger.addHandler(self._handler)
        self._logger.propagate = False

    def close(self) -> None:
        self._logger.removeHandler(self._handler)
        self._logger.propagate = self._propagated

    def watch(self, signal: str, export: Callable[[], R]) -> R:
        """Run ``export`` of ``signal``, and record its result and the errors that this thread logs meanwhile."""
        self._local.signal = signal
        delivered = False
        try:
            result = export()
            delivered = result.name == "SUCCESS"
        finally:
            self._local.signal = ""
            self._finished(signal, delivered=delivered)
        return result

    def logged(self, text: str) -> None:
        """Handle a record that an exporter has logged."""
        signal: str = getattr(self._local, "signal", "")
        if signal:
            self._failed(signal, text)
        else:
            log.debug(text)

    def _finished(self, signal: str, *, delivered: bool) -> None:
        if not delivered:
            self._failed(signal, "")
            return
        with self._lock:
            recovered = signal in self._failing
            self._failing.discard(signal)
            self._quiet = False
            recovered = recovered and not self._failing
        if recovered:
            log.info("OpenTelemetry collector accepts telemetry again", collector=self._collector)

    def _failed(self, signal: str, text: str) -> None:
        with self._lock:
            known = signal in self._failing
            self._failing.add(signal)
            # All signals fail if the collector is unavailable; one line is enough.
            first = not known and not self._quiet
            self._quiet = True
        if first:
            log.warning(
                f"OpenTelemetry collector does not accept {signal}. {_ADVICE}",
                collector=self._collector,
                error=text or "refused",
            )


class _Handler(logging.Handler):
    def __init__(self, health: ExportHealth) -> None:
        super().__init__(logging.WARNING)
        self._health = health

    def emit(self, record: logging.LogRecord) -> None:
        self._health.logged(record.getMessage())


class WatchedSpans(SpanExporter):
    """A span exporter that reports its results to :class:`ExportHealth`."""

    def __init__(self, exporter: SpanExporter, health: ExportHealth) -> None:
        self._exporter = exporter
        self._health = health

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._health.watch("traces", partial(self._exporter.export, spans))

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class WatchedLogs(LogRecordExporter):
    """A log exporter that reports its results to :class:`ExportHealth`."""

    def __init__(self, exporter: LogRecordExporter, health: ExportHealth) -> None:
        self._exporter = exporter
        self._health = health

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return self._health.watch("logs", partial(self._exporter.export, batch))

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
