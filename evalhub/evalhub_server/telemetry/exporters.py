"""Exporters for each ``otel.exporter_type``."""

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
    """Factory of the exporters, one for each signal."""

    def spans(self) -> SpanExporter: ...

    def metrics(self) -> MetricSink: ...

    def logs(self) -> LogRecordExporter: ...


def import_exporters(otel: OtelSettings) -> Callable[[OtelSettings], Exporters]:
    """Import the exporters of ``otel.exporter_type``. Their class may raise :class:`StartupError`."""
    # Each takes about 100 ms to import, and only one is needed.
    if otel.exporter_type == "otlp-grpc":
        _import_quietly("grpc")
        from evalhub_server.telemetry.otlp_grpc import GrpcExporters

        return GrpcExporters
    if otel.exporter_type == "otlp-http":
        from evalhub_server.telemetry.otlp_http import HttpExporters

        return HttpExporters
    return StdoutExporters


def _import_quietly(name: str) -> None:
    """Import gRPC with ``GRPC_VERBOSITY=NONE``: otherwise it writes plain text to standard error.

    The variable is read at import, and removed afterwards because adapters inherit the environment.
    """
    added = {"GRPC_VERBOSITY": "NONE"} if "GRPC_VERBOSITY" not in os.environ else {}
    os.environ.update(added)
    try:
        importlib.import_module(name)
    finally:
        for variable in added:
            del os.environ[variable]


class StdoutExporters:
    """One JSON object per line on standard output."""

    def __init__(self, otel: OtelSettings) -> None:
        """``otel`` has no settings for this type."""

    def spans(self) -> SpanExporter:
        return ConsoleSpanExporter(out=sys.stdout, formatter=_line)

    def metrics(self) -> MetricSink:
        return ConsoleMetricExporter(out=sys.stdout, formatter=_line)

    def logs(self) -> LogRecordExporter:
        return ConsoleLogRecordExporter(out=sys.stdout, formatter=_line)


def _line(item: ReadableSpan | MetricsData | ReadableLogRecord) -> str:
    return item.to_json(indent=None) + "\n"
