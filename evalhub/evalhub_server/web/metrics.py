"""The metrics of the server: those of requests, which the middleware records, and all of them together."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from evalhub_server.engine.metric_family import (
    CounterValue,
    Gauge,
    HistogramValue,
    Labels,
    MetricFamily,
    MetricsSnapshot,
)

if TYPE_CHECKING:
    from evalhub_server.engine.metrics import JobMetrics
    from evalhub_server.engine.observers import ObserverDispatcher
    from evalhub_server.engine.outbox_metrics import ExportMetrics

NO_ROUTE = "not_found"
"""The route label of requests without a route. Their paths would be label values that clients choose."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
OTHER_METHOD = "_OTHER"  # as in OpenTelemetry's conventions

# OpenTelemetry's bounds: those of its HTTP conventions for durations, its defaults for sizes.
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_BYTES = (
    0.0,
    5.0,
    10.0,
    25.0,
    50.0,
    75.0,
    100.0,
    250.0,
    500.0,
    750.0,
    1000.0,
    2500.0,
    5000.0,
    7500.0,
    10000.0,
)
_API_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_COUNT_LABELS = ("http_request_method", "http_route", "http_response_status_code")
_LABELS = (
    *_COUNT_LABELS,
    "network_protocol_name",
    "network_protocol_version",
    "server_address",
    "server_port",
    "url_scheme",
)


class HttpMetrics:
    """Metrics of HTTP requests. The middleware calls :meth:`started` and :meth:`ended` for each request."""

    def __init__(self, scheme: str, address: str, port: int) -> None:
        self._scheme = scheme
        self._server = (address, str(port), scheme)
        self._active: defaultdict[str, int] = defaultdict(int)
        self._ended: dict[
            tuple[str, str, int, str], tuple[HistogramValue, HistogramValue, HistogramValue]
        ] = {}
        self._seconds = MetricFamily(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests.",
            _LABELS,
            partial(HistogramValue, _SECONDS),
        )
        self._received = MetricFamily(
            "http_server_request_body_size_bytes",
            "Size of request bodies, from Content-Length.",
            _LABELS,
            partial(HistogramValue, _BYTES),
        )
        self._sent = MetricFamily(
            "http_server_response_body_size_bytes",
            "Size of response bodies.",
            _LABELS,
            partial(HistogramValue, _BYTES),
        )

    def started(self, method: str) -> None:
        self._active[known_method(method)] += 1

    def ended(
        self,
        method: str,
        route: str,
        status: int,
        version: str,
        duration_s: float,
        received: bytes,
        sent_bytes: int,
    ) -> None:
        """``route`` is the pattern, such as ``/jobs/{job_id}``; ``received`` the ``Content-Length`` of the request."""
        method = known_method(method)
        self._active[method] -= 1
        key = (method, route, status, version)
        seconds, received_bytes, response_bytes = self._ended.get(key) or self._add_series(key)
        seconds.observe(duration_s)
        received_bytes.observe(int(received) if received and received.isdigit() else 0)
        response_bytes.observe(0 if method == "HEAD" else sent_bytes)

    def _add_series(
        self, key: tuple[str, str, int, str]
    ) -> tuple[HistogramValue, HistogramValue, HistogramValue]:
        method, route, status, version = key
        values = (method, route or NO_ROUTE, str(status), "http", version, *self._server)
        children = self._seconds.labels(*values), self._received.labels(*values), self._sent.labels(*values)
        self._ended[key] = children
        return children

    def gauge(self) -> Gauge:
        values: Counter[Labels] = Counter()
        for method, count in self._active.items():
            values[method, self._scheme] += count
        return Gauge(
            name="http_server_active_requests",
            help="HTTP requests in progress.",
            label_names=("http_request_method", "url_scheme"),
            values=values,
        )

    def counters(self) -> list[MetricFamily[CounterValue]]:
        requests = MetricFamily(
            "http_server_request_count_total", "HTTP requests.", _COUNT_LABELS, CounterValue
        )
        for (method, route, status, *_), series in self._seconds.series().items():
            requests.labels(method, route, status).value += sum(series.counts)
        return [requests]

    def histograms(self) -> list[MetricFamily[HistogramValue]]:
        return [self._seconds, self._received, self._sent, self._api_seconds()]

    def _api_seconds(self) -> MetricFamily[HistogramValue]:
        """The durations under the contract's older name, whose last two labels are always empty."""
        api = MetricFamily(
            "evalhub_api_request_duration_seconds",
            "Duration of HTTP requests by route.",
            ("endpoint", "method", "collection", "provider"),
            partial(HistogramValue, _API_SECONDS),
        )
        for (method, route, *_), series in self._seconds.series().items():
            merged = api.labels("" if route == NO_ROUTE else route, method, "", "")
            for bound, count in zip((*_SECONDS, inf), series.counts, strict=True):
                merged.counts[bisect_left(_API_SECONDS, bound)] += count
            merged.sum += series.sum
        return api


class Metrics:
    """All metrics of the server. ``gauges`` is called for each scrape."""

    def __init__(
        self,
        http: HttpMetrics,
        jobs: JobMetrics,
        exports: ExportMetrics,
        observers: ObserverDispatcher,
        gauges: Callable[[], Awaitable[list[Gauge]]],
    ) -> None:
        self.http = http
        self._jobs = jobs
        self._exports = exports
        self._observers = observers
        self._gauges = gauges

    async def snapshot(self) -> MetricsSnapshot:
        """The current values."""
        return await asyncio.to_thread(self._snapshot, await self._all_gauges())

    async def text(self) -> bytes:
        """The current values in Prometheus's text format."""
        # In a thread: the first call imports prometheus-client, and a thousand series take milliseconds.
        return await asyncio.to_thread(self._write, await self._all_gauges())

    async def _all_gauges(self) -> list[Gauge]:
        return [*await self._gauges(), self._exports.gauge(), self.http.gauge()]

    def _snapshot(self, gauges: list[Gauge]) -> MetricsSnapshot:
        return MetricsSnapshot(
            counters=[
                *self._jobs.counters,
                *self._exports.counters,
                self._observers.missed,
                *self.http.counters(),
            ],
            histograms=[*self._jobs.histograms, *self._exports.histograms, *self.http.histograms()],
            gauges=gauges,
        )

    def _write(self, gauges: list[Gauge]) -> bytes:
        from evalhub_server.web.prometheus import Exposition

        return Exposition(self._snapshot(gauges)).text()


def known_method(method: str) -> str:
    """The method, or :data:`OTHER_METHOD`: the number of label values must have a limit."""
    return method if method in _METHODS else OTHER_METHOD
