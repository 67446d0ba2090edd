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
    "What it misses is dropped; evaluations work all the same. Check that a collector listens at "
    "otel.exporter_endpoint for otel.exporter_type (otlp-grpc: usually port 4317, otlp-http: 4318), and that "
    "otel.exporter_insecure is true if and only if it speaks without TLS (an authority of its own: "
    "OTEL_EXPORTER_OTLP_CERTIFICATE=ca.pem); or set otel.enabled: false."
)


class Delivery:
    """What became of exports, by signal.

    The exporters explain themselves in records of the standard library's logger ``opentelemetry``, one for every attempt;
    these come here instead of into the log, until :meth:`close`.
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
        """Export ``signal``; what its result and this thread's complaints say of the collector is noted."""
        self._local.signal = signal
        delivered = False
        try:
            result = export()
            delivered = result.name == "SUCCESS"
        finally:
            self._local.signal = ""
            self._ended(signal, delivered=delivered)
        return result

    def complained(self, text: str) -> None:
        """An exporter has something to say."""
        signal: str = getattr(self._local, "signal", "")
        if signal:
            self._failed(signal, text)
        else:
            log.debug(text)

    def _ended(self, signal: str, *, delivered: bool) -> None:
        if not delivered:
            self._failed(signal, "")
            return
        with self._lock:
            recovered = signal in self._failing
            self._failing.discard(signal)
            self._quiet = False
            recovered = recovered and not self._failing
        if recovered:
            log.info("OpenTelemetry collector takes telemetry again", collector=self._collector)

    def _failed(self, signal: str, text: str) -> None:
        with self._lock:
            known = signal in self._failing
            self._failing.add(signal)
            # With a collector that is gone, all signals fail, and one line says enough.
            say = not known and not self._quiet
            self._quiet = True
        if say:
            log.warning(
                f"OpenTelemetry collector does not take {signal}. {_ADVICE}",
                collector=self._collector,
                error=text or "it was refused",
            )


class _Handler(logging.Handler):
    def __init__(self, delivery: Delivery) -> None:
        super().__init__(logging.WARNING)
        self._delivery = delivery

    def emit(self, record: logging.LogRecord) -> None:
        self._delivery.complained(record.getMessage())


class WatchedSpans(SpanExporter):
    def __init__(self, exporter: SpanExporter, delivery: Delivery) -> None:
        self._exporter = exporter
        self._delivery = delivery

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._delivery.watch("traces", partial(self._exporter.export, spans))

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class WatchedLogs(LogRecordExporter):
    def __init__(self, exporter: LogRecordExporter, delivery: Delivery) -> None:
        self._exporter = exporter
        self._delivery = delivery

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return self._delivery.watch("logs", partial(self._exporter.export, batch))

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)
