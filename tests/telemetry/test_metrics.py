"""The metrics of /metrics, as a collector receives them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from harness import Config, RunningServer, wait_until
from harness.collector import HttpCollector, Received, plain
from harness.server import API

MakeConfig = Callable[..., Config]
CUMULATIVE = 2


def points(collector: HttpCollector, name: str) -> list[tuple[dict[str, Any], Any]]:
    """The last (attributes, point) pairs of a metric."""
    found = [metric for metric in collector.metrics() if metric.item.name == name]
    return [(plain(point.attributes), point) for point in _data(found[-1]).data_points] if found else []


def _data(metric: Received) -> Any:
    return getattr(metric.item, metric.item.WhichOneof("data"))


def value(collector: HttpCollector, name: str, **wanted: Any) -> Any:
    items = {key.replace("__", "."): value for key, value in wanted.items()}.items()
    for attributes, point in points(collector, name):
        if items <= attributes.items():
            return point
    return None


def test_jobs_and_requests_are_counted(collector: HttpCollector, config_for: MakeConfig):
    with RunningServer(config_for(collector.host, enable_tracing=False, enable_logs=False).folder) as server:
        job_id = server.submit()
        server.finished(job_id)
        completed = wait_until(
            lambda: value(collector, "evalhub_evaluation_jobs", status="completed"), "a completed job"
        )
        events = {
            "http__request__method": "POST",
            "http__route": f"{API}/jobs/{{job_id}}/events",
            "http__response__status_code": 204,
        }
        wait_until(
            lambda: (p := value(collector, "http.server.request.count", **events)) and p.as_int == 2, "events"
        )
        seconds = value(collector, "http.server.request.duration", server__port=server.port, **events)
        assert value(collector, "evalhub_evaluation_jobs_active").as_double == 0
    assert completed.as_int == 1
    assert 0 < completed.start_time_unix_nano < completed.time_unix_nano
    assert seconds.count == sum(seconds.bucket_counts) == 2
    assert len(seconds.bucket_counts) == len(seconds.explicit_bounds) + 1
    assert seconds.sum > 0
    assert not seconds.HasField("min")
    assert {signal for signal, _ in collector.exports} == {"metrics"}
    assert {metric.resource["service.name"] for metric in collector.metrics()} == {"eval-hub-server"}


def test_a_collector_derives_the_servers_prometheus_names(collector: HttpCollector, config_for: MakeConfig):
    """After https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/."""
    with RunningServer(config_for(collector.host).folder) as server:
        server.finished(server.submit())
        wait_until(
            lambda: "evalhub_stored_bytes{" in server.get("/metrics"), "the first measurement of sizes"
        )
        text = server.get("/metrics")
        for name in ("evalhub_benchmark_completions", "evalhub_stored"):  # the unit is not part of the name
            wait_until(lambda name=name: points(collector, name), name)
    families = re.findall(
        r"^# TYPE ((?:evalhub|http)_\S+) (\S+)\n\1", text, re.MULTILINE
    )  # those with samples
    units = {"s": "_seconds", "By": "_bytes", "": ""}
    restored: set[tuple[str, str]] = set()
    for metric in collector.metrics():
        kind = metric.item.WhichOneof("data")
        if kind != "gauge":
            assert _data(metric).aggregation_temporality == CUMULATIVE
        total = "_total" if kind == "sum" and metric.item.sum.is_monotonic else ""
        name = metric.item.name.replace(".", "_") + units[metric.item.unit] + total
        restored.add((name, {"sum": "counter"}.get(kind, kind)))
    assert restored == set(families)
    assert families


def test_the_last_metrics_are_exported_at_exit(collector: HttpCollector, config_for: MakeConfig):
    with RunningServer(config_for(collector.host, metric_export_interval="1h").folder) as server:
        server.finished(server.submit())
        assert not collector.metrics()
        assert server.terminate() == 0
        assert "Job gauges left out" not in server.log_text()
    assert value(collector, "evalhub_evaluation_jobs", status="completed").as_int == 1
    assert value(collector, "evalhub_evaluation_jobs_active").as_double == 0
