"""Ways to send telemetry, by ``otel.exporter_type``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Protocol

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter, LogRecordExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

from evalhub_server.settings import OtelSettings
from evalhub_server.telemetry.metrics import MetricSink


class Exporters(Protocol):
    """Makes one exporter for each signal."""

    def spans(self) -> SpanExporter: ...

    def metrics(self) -> MetricSink: ...

    def logs(self) -> LogRecordExporter: ...


def import_exporters(otel: OtelSettings) -> Callable[[OtelSettings], Exporters]:
    """What makes the exporters; that raises :class:`StartupError` if a certificate cannot be used."""
    # Each takes some 100 ms to import, and nobody uses both.
    if otel.exporter_type == "otlp-grpc":
        _import_quietly("grpc")
        from evalhub_server.telemetry.otlp_grpc import GrpcExporters

        return GrpcExporters
    if otel.exporter_type == "otlp-http":
        from evalhub_server.telemetry.otlp_http import HttpExporters

        return HttpExporters
    return StdoutExporters


def _import_quietly(name: str) -> None:
    """gRPC writes text of its own to standard error, among the lines of the log, unless a variable says not to.

    It is read at import. Adapters, which inherit the environment, are not to have it.
    """
    told = {"GRPC_VERBOSITY": "NONE"} if "GRPC_VERBOSITY" not in os.environ else {}
    os.environ.update(told)
    try:
        importlib.import_module(name)
    finally:
        for variable in told:
            del os.environ[variable]


class StdoutExporters:
    """One JSON object per line on standard output."""

    def __init__(self, otel: OtelSettings) -> None:
        """There is nothing to configure."""

    def spans(self) -> SpanExporter:
        return ConsoleSpanExporter(out=sys.stdout, formatter=_line)

    def metrics(self) -> MetricSink:
        return ConsoleMetricExporter(out=sys.stdout, formatter=_line)

    def logs(self) -> LogRecordExporter:
        return ConsoleLogRecordExporter(out=sys.stdout, formatter=_line)


def _line(item: ReadableSpan | MetricsData | ReadableLogRecord) -> str:
    return item.to_json(indent=None) + "\n"
