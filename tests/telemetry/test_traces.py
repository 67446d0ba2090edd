"""Spans of requests and benchmarks, as a collector receives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from evalhub_server import __version__
from harness import Config, RunningServer
from harness.collector import HttpCollector, sending_config
from harness.raw import raw_request
from harness.server import API

MakeConfig = Callable[..., Config]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SERVER, INTERNAL = 2, 1
ERROR = 2


class Observed(NamedTuple):
    """A server and the collector that it exports to."""

    server: RunningServer
    collector: HttpCollector


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Shared by tests that only send requests and find their own spans by attributes."""
    with HttpCollector() as collector:
        config = sending_config(tmp_path_factory.mktemp("observed"), collector.host)
        with RunningServer(config.folder) as server:
            yield Observed(server, collector)


def traceparent(sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-0{int(sampled)}"}


def test_a_request_is_a_server_span_with_the_http_conventions(observed: Observed):
    server, collector = observed
    headers = {"X-Global-Transaction-Id": "mine", "User-Agent": "a test"}
    assert server.call("GET", f"{API}/jobs/nope?x=1", headers=headers).status == 404
    span = collector.span(f"GET {API}/jobs/{{job_id}}")
    assert span.item.kind == SERVER
    assert not span.item.parent_span_id
    assert span.item.status.code != ERROR
    assert span.item.start_time_unix_nano < span.item.end_time_unix_nano
    attributes = span.attributes
    assert attributes.pop("client.port") > 0
    assert attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "http.response.header.x-global-transaction-id": ["mine"],
        "http.route": f"{API}/jobs/{{job_id}}",
        "url.path": f"{API}/jobs/nope",
        "url.query": "x=1",
        "url.scheme": "http",
        "client.address": "127.0.0.1",
        "network.protocol.version": "1.1",
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "user_agent.original": "a test",
    }


def test_span_names_of_requests_without_a_route_are_not_chosen_by_clients(observed: Observed):
    server, collector = observed
    assert server.call("GET", "/nowhere").status == 404
    assert raw_request(server.port, "BREW", f"{API}/jobs").status == 405
    assert server.call("HEAD", f"{API}/jobs").status == 200
    span = collector.span("GET", url__path="/nowhere")
    odd = collector.span("HTTP", url__path=f"{API}/jobs")
    head = collector.span(f"HEAD {API}/jobs")
    assert "http.route" not in span.attributes
    assert odd.attributes["http.request.method"] == "_OTHER"
    assert odd.attributes["http.request.method_original"] == "BREW"
    assert head.attributes["http.request.method"] == "HEAD"


def test_the_span_of_a_refused_report_has_no_token(observed: Observed):
    path = f"/callback/{'x' * 43}{API}/jobs/a/events"
    assert raw_request(observed.server.port, "POST", path, "Origin: https://evil.example").status == 403
    observed.collector.span("POST", url__path=f"{API}/jobs/a/events")
    token = "q7Zr-3XbT0aLk_9VwYdHs5MfPeJ2nUcGoB8iRtKx1Sy"
    assert (
        raw_request(observed.server.port, "GET", f"/hub/callback/{token}{API}?url=/callback/{token}").status
        == 404
    )
    span = observed.collector.span("GET", url__path=f"/hub/callback/[redacted]{API}")
    assert span.attributes["url.query"] == "url=/callback/[redacted]"


@pytest.mark.parametrize("fields", [[""], ["00-zz-zz-01"], [f"00-{TRACE}-{PARENT}-01"] * 2])
def test_a_broken_traceparent_begins_a_new_trace(observed: Observed, fields: list[str]):
    lines = [f"traceparent: {value}" for value in fields]
    request_id = f"broken {fields}"
    answer = raw_request(
        observed.server.port, "GET", f"{API}/jobs", f"X-Global-Transaction-Id: {request_id}", *lines
    )
    assert answer.status == 200
    header = {"http__response__header__x-global-transaction-id": [request_id]}
    span = observed.collector.span(f"GET {API}/jobs", **header)
    assert span.trace_id != TRACE
    assert not span.item.parent_span_id


def test_the_trace_of_a_caller_is_continued(collector: HttpCollector, config_for: MakeConfig):
    with RunningServer(config_for(collector.host, sampling_ratio=0).folder) as server:
        server.call("GET", "/api/v1/health")
        server.call("GET", f"{API}/jobs", headers=traceparent(sampled=False))
        server.call("GET", f"{API}/providers", headers={**traceparent(), "tracestate": "a=b"})
        span = collector.span(f"GET {API}/providers")
    assert (span.trace_id, span.item.parent_span_id.hex()) == (TRACE, PARENT)
    assert span.item.trace_state == "a=b"
    # A ratio of 0 leaves what callers have decided, and nothing else.
    assert [found.item.name for found in collector.spans()] == [span.item.name]


def test_a_benchmark_is_a_child_span_of_the_request_and_parent_of_its_adapters(
    collector: HttpCollector, config_for: MakeConfig
):
    config = config_for(collector.host)
    config.provider('echo "$TRACEPARENT $TRACESTATE $OTEL_EXPORTER_OTLP_ENDPOINT"; exit 3')
    headers = {**traceparent(), "tracestate": "a=b"}
    with RunningServer(config.folder, env={"TRACEPARENT": "another"}) as server:
        server.headers = headers
        job_id = server.submit()
        server.finished(job_id)
        sent, state, endpoint = server.logs(job_id).splitlines()[-1].split()
        post = collector.span(f"POST {API}/jobs")
        span = collector.span("local.run_benchmark")
    assert endpoint == f"http://{collector.host}"
    assert (sent, state) == (f"00-{TRACE}-{span.span_id}-01", "a=b")
    assert (span.trace_id, span.item.parent_span_id) == (TRACE, post.item.span_id)
    assert span.item.kind == INTERNAL
    assert span.attributes == {
        "evalhub.job.id": job_id,
        "benchmark.id": "b",
        "benchmark.index": 0,
        "benchmark.state": "failed",
        "provider.id": "scripted",
        "process.exit.code": 3,
    }
    assert span.item.status.code == ERROR
    assert "exit" in span.item.status.message


def test_the_span_of_a_completed_benchmark_is_no_error(observed: Observed):
    job_id = observed.server.submit()
    assert observed.server.finished(job_id)["status"]["state"] == "completed"
    span = observed.collector.span("local.run_benchmark", evalhub__job__id=job_id)
    assert span.attributes["benchmark.state"] == "completed"
    assert span.item.status.code != ERROR


def test_open_spans_are_ended_and_exported_at_exit(
    collector: HttpCollector, config_for: MakeConfig, tmp_path: Path
):
    config = config_for(collector.host, tracer_batch_interval="1h")
    config.scripted("running", "sleep")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        server.in_state(job_id, "running")
        assert not collector.spans()
        assert server.terminate() == 0
        assert collector.span("local.run_benchmark").attributes["benchmark.interrupted"] is True
        assert {f"POST {API}/jobs", f"POST {API}/jobs/{{job_id}}/events"} <= {
            span.item.name for span in collector.spans()
        }
        server.start()
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


def test_telemetry_has_the_service_name(collector: HttpCollector, config_for: MakeConfig):
    attributes = {"deployment.environment.name": "test"}
    config = config_for(
        collector.host, service_name="mine", service_version="7", additional_attributes=attributes
    )
    with RunningServer(
        config.folder, env={"OTEL_RESOURCE_ATTRIBUTES": "team=blue,service.name=theirs"}
    ) as server:
        server.call("GET", f"{API}/jobs")
        resource = collector.span(f"GET {API}/jobs").resource
    assert (
        resource.items()
        >= {**attributes, "service.name": "mine", "service.version": "7", "team": "blue"}.items()
    )
    assert resource["service.instance.id"]


def test_the_service_name_is_by_default_that_of_the_environment_or_of_the_program(
    collector: HttpCollector, config_for: MakeConfig
):
    config = config_for(collector.host)
    unnamed = {name: "" for name in os.environ if name.startswith("OTEL_")}
    for env, name in ({"OTEL_SERVICE_NAME": "theirs"}, "theirs"), ({}, "eval-hub-server"):
        with RunningServer(config.folder, env={**unnamed, **env}) as server:
            server.call("GET", f"{API}/jobs")
            span = collector.span(f"GET {API}/jobs", server__port=server.port)
        assert (span.resource["service.name"], span.resource["service.version"]) == (name, __version__)
