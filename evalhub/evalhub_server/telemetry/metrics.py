"""The metrics of ``/metrics`` in OpenTelemetry's data model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import AttributeValue

from evalhub_server.engine.metric_family import Labels, MetricsSnapshot

_NAMES = {
    "http_server_active_requests": "http.server.active_requests",
    "http_server_request_body_size": "http.server.request.body.size",
    "http_server_request_count": "http.server.request.count",
    "http_server_request_duration": "http.server.request.duration",
    "http_server_response_body_size": "http.server.response.body.size",
}
"""Prometheus name → name in OpenTelemetry's semantic conventions."""
_ATTRIBUTES = {
    "http_request_method": "http.request.method",
    "http_response_status_code": "http.response.status_code",
    "http_route": "http.route",
    "network_protocol_name": "network.protocol.name",
    "network_protocol_version": "network.protocol.version",
    "server_address": "server.address",
    "server_port": "server.port",
    "url_scheme": "url.scheme",
}
_NUMBERS = {"http_response_status_code", "server_port"}
_UNITS = {"_seconds": "s", "_bytes": "By"}
_TOTAL = "_total"
POINTS = 2000
"""Data points per request; with the longest names they stay below 4 MB, the default limit of gRPC servers."""
_CUMULATIVE = AggregationTemporality.CUMULATIVE


class MetricSink(Protocol):
    """Interface of metric exporters."""

    def export(self, metrics_data: MetricsData) -> MetricExportResult: ...


def metrics_data(
    snapshot: MetricsSnapshot, resource: Resource, scope: InstrumentationScope, start_ns: int, now_ns: int
) -> MetricsData:
    """Convert ``snapshot``, counted since ``start_ns``; both times are ns since 1970.

    Units and ``_total`` are suffixes of names in Prometheus and separate in OpenTelemetry. A collector that exports to
    Prometheus restores the names of ``/metrics``.
    """
    metrics = [
        *_counters(snapshot, start_ns, now_ns),
        *_histograms(snapshot, start_ns, now_ns),
        *_gauges(snapshot, now_ns),
    ]
    metrics = [
        metric for metric in metrics if metric.data.data_points
    ]  # exporters reject metrics without data points
    of_scope = ScopeMetrics(scope=scope, metrics=metrics, schema_url="")
    of_resource = ResourceMetrics(resource=resource, scope_metrics=[of_scope], schema_url="")
    return MetricsData(resource_metrics=[of_resource])


def _counters(snapshot: MetricsSnapshot, start_ns: int, now_ns: int) -> Iterator[Metric]:
    for family in snapshot.counters:
        points = [
            NumberDataPoint(_attributes(family.label_names, values), start_ns, now_ns, series.value)
            for values, series in family.series().items()
        ]
        data = Sum(points, aggregation_temporality=_CUMULATIVE, is_monotonic=True)
        yield _metric(family.name.removesuffix(_TOTAL), family.help, data)


def _histograms(snapshot: MetricsSnapshot, start_ns: int, now_ns: int) -> Iterator[Metric]:
    unknown = cast("Any", None)  # allowed by the protocol, but not by the type
    for family in snapshot.histograms:
        points: list[HistogramDataPoint] = []
        for values, series in family.series().items():
            counts = series.counts.copy()  # one copy, so that count and buckets agree
            points.append(
                HistogramDataPoint(
                    attributes=_attributes(family.label_names, values),
                    start_time_unix_nano=start_ns,
                    time_unix_nano=now_ns,
                    count=sum(counts),
                    sum=series.sum,
                    bucket_counts=counts,
                    explicit_bounds=series.bounds,
                    min=unknown,
                    max=unknown,
                )
            )
        yield _metric(family.name, family.help, Histogram(points, aggregation_temporality=_CUMULATIVE))


def _gauges(snapshot: MetricsSnapshot, now_ns: int) -> Iterator[Metric]:
    for gauge in snapshot.gauges:
        points = [
            NumberDataPoint(_attributes(gauge.label_names, values), 0, now_ns, value)
            for values, value in gauge.values.items()
        ]
        yield _metric(gauge.name, gauge.help, Gauge(points))


def _metric(name: str, help_: str, data: Sum | Histogram | Gauge) -> Metric:
    unit = ""
    for suffix, word in _UNITS.items():
        if name.endswith(suffix):
            name, unit = name.removesuffix(suffix), word
    return Metric(_NAMES.get(name, name), help_, unit, data)


def _attributes(labels: Labels, values: Labels) -> Mapping[str, AttributeValue]:
    return {
        _ATTRIBUTES.get(label, label): int(value) if label in _NUMBERS else value
        for label, value in zip(labels, values, strict=True)
    }
