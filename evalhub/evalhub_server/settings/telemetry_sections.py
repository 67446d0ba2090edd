"""Types of the sections about telemetry: ``prometheus`` and ``otel``."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from evalhub_server.plugins.sections import Duration

OTLP = ("otlp-grpc", "otlp-http")
"""Types of exporters that send to a collector."""


class PrometheusSettings(Struct, kw_only=True, frozen=True):
    """Section ``prometheus``: a listener of its own for ``/metrics``."""

    enabled: Annotated[bool, Meta(description="Serve `/metrics` on a port of its own, over plain HTTP.")] = (
        False
    )
    port: Annotated[int, Meta(description="Port of the metrics. 0 takes a free one.")] = 8081
    host: Annotated[
        str,
        Meta(
            description="Address that the metrics listen on. Default: all addresses; with `--local` the API's.",
            examples=["127.0.0.1"],
        ),
    ] = ""
    auth_token_file: Annotated[
        str,
        Meta(
            description="File with a token for `/metrics` alone, here and on the API's port, sent as `Authorization: Bearer TOKEN`. The token of `service.auth_token_file` is accepted there, too. It is read again when it changes.",
            examples=["/etc/evalhub/scrape-token"],
        ),
    ] = ""


class OtelSettings(Struct, kw_only=True, frozen=True):
    """Section ``otel``: OpenTelemetry."""

    enabled: Annotated[
        bool, Meta(description="Send telemetry to an OpenTelemetry collector. Needs the extra `otel`.")
    ] = False
    exporter_type: Annotated[
        str,
        Meta(
            description="Protocol: `otlp-grpc`, `otlp-http`, or `stdout` for lines of JSON.",
            examples=["otlp-grpc"],
        ),
    ] = ""
    exporter_endpoint: Annotated[
        str, Meta(description="`host:port` of the collector.", examples=["localhost:4317"])
    ] = ""
    exporter_insecure: Annotated[bool, Meta(description="Speak to the collector without TLS.")] = False
    sampling_ratio: Annotated[
        float,
        Meta(
            description="Share of traces to send, from 0 to 1, unless the caller's `traceparent` decides.",
            examples=[0.1],
        ),
    ] = 1.0
    enable_tracing: Annotated[bool, Meta(description="Send traces of requests and benchmarks.")] = False
    enable_metrics: Annotated[bool, Meta(description="Send metrics.")] = False
    enable_logs: Annotated[bool, Meta(description="Send the server's log.")] = False
    enable_job_container_logs: Annotated[
        bool,
        Meta(description="Send the last 1000 lines of each adapter's output, too. Needs `otel.enable_logs`."),
    ] = False
    tracer_timeout: Annotated[Duration, Meta(description="Time limit for one transmission of spans.")] = (
        Duration(30)
    )
    tracer_batch_interval: Annotated[
        Duration, Meta(description="Interval between transmissions of spans.")
    ] = Duration(5)
    metric_export_interval: Annotated[
        Duration, Meta(description="Interval between transmissions of metrics.")
    ] = Duration(60)
    service_name: Annotated[
        str,
        Meta(
            description="Resource attribute `service.name`. Default: `OTEL_SERVICE_NAME`, else `eval-hub-server`.",
            examples=["evalhub-staging"],
        ),
    ] = ""
    service_version: Annotated[
        str,
        Meta(
            description="Resource attribute `service.version`. Default: the server's version.",
            examples=["1.1.0"],
        ),
    ] = ""
    additional_attributes: Annotated[
        dict[str, str],
        Meta(
            description="Further resource attributes. They take precedence over `OTEL_RESOURCE_ATTRIBUTES`.",
            examples=[{"deployment.environment.name": "staging"}],
        ),
    ] = field(default_factory=dict[str, str])
    enable_ecs_resource_detection: Annotated[
        bool, Meta(description="Accepted for compatibility; has no effect.")
    ] = False
    disable_redirect_otel_logs: Annotated[
        bool, Meta(description="Accepted for compatibility; has no effect.")
    ] = False
    disable_database_otel_scan: Annotated[
        bool, Meta(description="Accepted for compatibility; has no effect.")
    ] = False

    @property
    def adapter_environment(self) -> dict[str, str]:
        """Variables that make the SDK's adapters report to the collector, as the released server gives them."""
        if not self.enabled or self.exporter_type not in OTLP:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector,
            "OTEL_SERVICE_NAME": "evalhub-adapter",
        }

    @property
    def collector(self) -> str:
        """Its URL, or ``stdout``."""
        if self.exporter_type not in OTLP:
            return self.exporter_type
        return f"{'http' if self.exporter_insecure else 'https'}://{self.exporter_endpoint}"
