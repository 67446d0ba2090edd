"""Exporters for OTLP over gRPC."""

from __future__ import annotations

import grpc
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.trace.export import SpanExporter

from evalhub_server.settings import OtelSettings
from evalhub_server.telemetry.metrics import POINTS, MetricSink
from evalhub_server.telemetry.tls import has_custom_authority, pem_of, system_authorities


class GrpcExporters:
    """OTLP over gRPC. ``OTEL_EXPORTER_OTLP_*`` set headers, compression, client certificates and timeouts."""

    def __init__(self, otel: OtelSettings) -> None:
        self._otel = otel
        self._credentials = (
            None if otel.exporter_insecure or has_custom_authority() else _system_credentials()
        )

    def spans(self) -> SpanExporter:
        return OTLPSpanExporter(
            endpoint=self._otel.collector,
            insecure=self._otel.exporter_insecure,
            credentials=self._credentials,
            timeout=self._otel.tracer_timeout or None,
        )

    def metrics(self) -> MetricSink:
        return OTLPMetricExporter(
            endpoint=self._otel.collector,
            insecure=self._otel.exporter_insecure,
            credentials=self._credentials,
            max_export_batch_size=POINTS,
        )

    def logs(self) -> LogRecordExporter:
        return OTLPLogExporter(
            endpoint=self._otel.collector,
            insecure=self._otel.exporter_insecure,
            credentials=self._credentials,
        )


def _system_credentials() -> grpc.ChannelCredentials | None:
    """Credentials with the system's certificate authorities, instead of those bundled with gRPC; None if there are none."""
    trusted = system_authorities()
    return grpc.ssl_channel_credentials(root_certificates=pem_of(trusted)) if trusted else None
