"""The server's log and adapter output, as a collector receives them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.collector import HttpCollector
from harness.server import API

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., Config]
INFO, WARN = 9, 13
NO_TIME = 0


def test_every_line_of_the_log_is_a_record_with_the_trace_of_its_request(
    collector: HttpCollector, config_for: MakeConfig
):
    with RunningServer(config_for(collector.host).folder) as server:
        server.call("GET", f"{API}/jobs?limit=1", headers={"X-Global-Transaction-Id": "mine"})
        span = collector.span(f"GET {API}/jobs")
        record = collector.log("Request successful", request_id="mine")
        assert server.terminate() == 0
        written = [line["msg"] for line in server.log_lines()]
    assert (record.trace_id, record.span_id) == (span.trace_id, span.span_id)
    assert (record.item.severity_number, record.item.severity_text) == (INFO, "INFO")
    assert span.item.start_time_unix_nano < record.item.time_unix_nano
    assert record.resource["service.name"] == "eval-hub-server"
    attributes = record.attributes
    assert 0 < attributes.pop("duration") < 60
    assert attributes == {
        "request_id": "mine",
        "method": "GET",
        "uri": f"{API}/jobs?limit=1",
        "code": 200,
        "remote_addr": "127.0.0.1",
    }
    sent = [log.item.body.string_value for log in collector.logs()]
    # What was written before telemetry began, and after it ended, is on standard error only.
    assert [text for text in written if text in sent] == sent
    assert {"API Server starting", "Runtime created", "Request successful"} <= set(sent)


def test_no_secret_is_sent(collector: HttpCollector, config_for: MakeConfig, tmp_path: Path):
    config = config_for(collector.host)
    token = tmp_path / "token"
    token.write_text("x" * 40)
    sections = (config.folder / "config.yaml").read_text("utf-8")
    config.write("config.yaml", sections.replace("service:\n", f"service:\n  auth_token_file: {token}\n"))
    with RunningServer(config.folder) as server:
        server.call("GET", f"/{'x' * 40}", headers={"Authorization": f"Bearer {'x' * 40}"})
        collector.log("Request failed", code=404)
    assert all(b"x" * 40 not in log.item.SerializeToString() for log in collector.logs())


def test_text_that_is_not_unicode_does_not_prevent_the_export_of_the_rest(
    collector: HttpCollector, config_for: MakeConfig, tmp_path: Path
):
    config = config_for(collector.host)
    (config.folder / "providers" / "bad-\udcff.yaml").write_text("id: [", "utf-8")
    with RunningServer(config.folder):
        collector.log("API Server starting")
    assert [log for log in collector.logs() if b"\\udcff" in log.item.SerializeToString()]


def test_adapter_output_is_exported_after_the_adapter_has_exited(
    collector: HttpCollector, config_for: MakeConfig
):
    config = config_for(collector.host, enable_job_container_logs=True)
    config.provider("i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done; exit 1")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        server.finished(job_id)
        span = collector.span("local.run_benchmark")
        lines = wait_until(
            lambda: len(adapter_lines(collector)) == 1000 and adapter_lines(collector), "the lines"
        )
    # The last thousand, in their order.
    assert [line.item.body.string_value for line in lines] == [f"line {i}" for i in range(500, 1500)]
    assert lines[0].attributes == {
        "evalhub.log.source": "container",
        "evalhub.job.id": job_id,
        "evalhub.job.state": "failed",
        "evalhub.benchmark.id": "b",
        "evalhub.benchmark.index": 0,
        "evalhub.provider.id": "scripted",
    }
    assert {(line.trace_id, line.span_id) for line in lines} == {(span.trace_id, span.span_id)}
    assert lines[0].item.time_unix_nano == NO_TIME


def adapter_lines(collector: HttpCollector) -> list:
    return [log for log in collector.logs() if log.attributes.get("evalhub.log.source") == "container"]


def test_lines_of_any_length_and_any_bytes_are_exported(collector: HttpCollector, config_for: MakeConfig):
    config = config_for(collector.host, enable_job_container_logs=True, enable_tracing=False)
    config.provider("printf 'a\\377b\\n'; head -c 100000 /dev/zero | tr '\\0' x; echo; printf end; exit 1")
    with RunningServer(config.folder) as server:
        server.finished(server.submit())
        lines = wait_until(
            lambda: len(adapter_lines(collector)) == 3 and adapter_lines(collector), "the lines"
        )
    texts = [line.item.body.string_value for line in lines]
    assert texts == ["a\ufffdb", "x" * 32 * 1024, "end"]
    assert not lines[0].item.trace_id


@pytest.mark.parametrize("also", [{}, {"enable_job_container_logs": True, "enable_logs": False}])
def test_adapter_output_is_not_exported_unless_it_is_enabled(
    collector: HttpCollector, config_for: MakeConfig, also: dict[str, bool]
):
    config = config_for(collector.host, **also)
    config.provider("echo a line; exit 1")
    with RunningServer(config.folder) as server:
        server.finished(server.submit())
        collector.span("local.run_benchmark")
        assert server.terminate() == 0
        warning = "otel.enable_job_container_logs: has no effect without otel.enable_logs: true"
        assert (warning in json.dumps(server.log_lines())) is bool(also)
    assert adapter_lines(collector) == []
