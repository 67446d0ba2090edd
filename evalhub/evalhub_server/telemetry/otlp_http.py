"""Exporters for OTLP over HTTP with protobuf."""

from __future__ import annotations

from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.trace.export import SpanExporter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from evalhub_server.settings import OtelSettings
from evalhub_server.telemetry.metrics import POINTS, MetricSink
from evalhub_server.telemetry.tls import has_custom_authority, system_authorities


class HttpExporters:
    """OTLP over HTTP. ``OTEL_EXPORTER_OTLP_*`` set headers, compression, client certificates and timeouts."""

    def __init__(self, otel: OtelSettings) -> None:
        self._otel = otel
        self._certificate_file: str | None = None
        if not otel.exporter_insecure and not has_custom_authority():
            # Always set: some versions of the exporter skip verification if their variable is set and empty.
            self._certificate_file = str(system_authorities() or DEFAULT_CA_BUNDLE_PATH)

    def spans(self) -> SpanExporter:
        return OTLPSpanExporter(
            endpoint=f"{self._otel.collector}/v1/traces",
            certificate_file=self._certificate_file,
            timeout=self._otel.tracer_timeout or None,
            session=_Session(),
        )

    def metrics(self) -> MetricSink:
        return OTLPMetricExporter(
            endpoint=f"{self._otel.collector}/v1/metrics",
            certificate_file=self._certificate_file,
            session=_Session(),
            max_export_batch_size=POINTS,
        )

    def logs(self) -> LogRecordExporter:
        return OTLPLogExporter(
            endpoint=f"{self._otel.collector}/v1/logs",
            certificate_file=self._certificate_file,
            session=_Session(),
        )


class _Session(requests.Session):
    """A session in which ``verify`` takes precedence over ``REQUESTS_CA_BUNDLE``, which is meant for other programs."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        verify = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)
