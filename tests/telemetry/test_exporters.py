"""Export of telemetry: every exporter, TLS, unavailable collectors, and a missing extra."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, free_port, wait_until
from harness.certificates import certificate
from harness.collector import GrpcCollector, HttpCollector
from harness.server import API

MakeConfig = Callable[..., Config]
pytestmark = pytest.mark.slow

UNTRUSTED = {
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "",
    "SSL_CERT_FILE": "",
    "SSL_CERT_DIR": "",
    "REQUESTS_CA_BUNDLE": "",
}
NOT_TAKEN = "OpenTelemetry collector does not accept "
SIGNALS = {"traces", "metrics", "logs"}


def warnings(server: RunningServer) -> list[dict[str, Any]]:
    return [line for line in server.log_lines() if line["level"] in ("warning", "error")]


def signals(collector: HttpCollector | GrpcCollector) -> set[str]:
    return {signal for signal, _ in list(collector.exports)}


@pytest.mark.parametrize("kind", [HttpCollector, GrpcCollector])
def test_a_collector_gets_every_signal_and_the_standard_headers(
    config_for: MakeConfig, kind: type[HttpCollector | GrpcCollector]
):
    with kind() as collector:
        exporter = "otlp-grpc" if kind is GrpcCollector else "otlp-http"
        config = config_for(collector.host, exporter_type=exporter)
        with RunningServer(
            config.folder, env={"OTEL_EXPORTER_OTLP_HEADERS": "api-key=key-of-otel"}
        ) as server:
            assert server.finished(server.submit())["status"]["state"] == "completed"
            collector.span("local.run_benchmark")
            wait_until(lambda: signals(collector) == SIGNALS, "all signals")
            assert server.terminate() == 0
            assert warnings(server) == []
            assert "key-of-otel" not in server.log_text()
        fields = (
            [r.headers for r in collector.requests]
            if isinstance(collector, HttpCollector)
            else collector.metadata
        )
        assert {item["api-key"] for item in fields} == {"key-of-otel"}


@pytest.mark.parametrize(
    ("kind", "trust"),
    [
        (HttpCollector, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
        (HttpCollector, "SSL_CERT_FILE"),
        (GrpcCollector, "SSL_CERT_FILE"),
        pytest.param(GrpcCollector, "OTEL_EXPORTER_OTLP_CERTIFICATE", marks=pytest.mark.slow),
    ],
)
def test_a_collector_with_a_trusted_certificate_receives_telemetry(
    config_for: MakeConfig, tmp_path: Path, kind: type[HttpCollector | GrpcCollector], trust: str
):
    tls = certificate(tmp_path / "tls", "collector")
    with kind(tls=tls) as collector:
        exporter = "otlp-grpc" if kind is GrpcCollector else "otlp-http"
        config = config_for(collector.host, exporter_type=exporter, exporter_insecure=False)
        # The HTTP client's own variable, which is for other programs, does not take precedence.
        other = str(certificate(tmp_path / "tls", "other")[0])
        env = {**UNTRUSTED, "REQUESTS_CA_BUNDLE": other, trust: str(tls[0])}
        with RunningServer(config.folder, env=env) as server:
            server.get(f"{API}/jobs")
            collector.span(f"GET {API}/jobs")
            assert warnings(server) == []


@pytest.mark.parametrize("kind", [HttpCollector, GrpcCollector])
def test_a_collector_with_an_untrusted_certificate_receives_nothing(
    config_for: MakeConfig, tmp_path: Path, kind: type[HttpCollector | GrpcCollector]
):
    with kind(tls=certificate(tmp_path / "tls", "collector")) as collector:
        exporter = "otlp-grpc" if kind is GrpcCollector else "otlp-http"
        config = config_for(collector.host, exporter_type=exporter, exporter_insecure=False)
        with RunningServer(config.folder, env=UNTRUSTED) as server:
            server.get(f"{API}/jobs")
            (warning,) = wait_until(lambda: warnings(server), "the warning")
            assert NOT_TAKEN in warning["msg"]
            assert server.terminate() == 0
            assert collector.exports == []
            # gRPC writes lines of its own to standard error, if it is let.
            assert all(line.startswith("{") for line in server.log_text().splitlines())


def test_a_missing_certificate_stops_the_start(config_for: MakeConfig, tmp_path: Path):
    config = config_for("localhost:4317", exporter_type="otlp-grpc", exporter_insecure=False)
    missing = tmp_path / "missing.pem"
    with pytest.raises(AssertionError, match=r"ended with 1") as raised:
        RunningServer(config.folder, env={"OTEL_EXPORTER_OTLP_CERTIFICATE": str(missing)}).start()
    assert f"OTEL_EXPORTER_OTLP_CERTIFICATE: {missing} cannot be used: No such file" in str(raised.value)


@pytest.mark.parametrize("exporter", ["otlp-http", "otlp-grpc"])
def test_an_unavailable_collector_is_logged_once_and_delays_nothing(config_for: MakeConfig, exporter: str):
    config = config_for(f"127.0.0.1:{free_port()}", exporter_type=exporter)
    with RunningServer(config.folder) as server:
        for _ in range(3):
            assert server.finished(server.submit())["status"]["state"] == "completed"
        (warning,) = wait_until(lambda: warnings(server), "the warning")
        assert NOT_TAKEN in warning["msg"]
        assert "otel.exporter_endpoint" in warning["msg"]
        assert warning["error"]
        assert server.terminate(timeout_s=8.0) == 0
        late = "Telemetry not sent at shutdown"
        assert {line["msg"] for line in warnings(server)} - {late} == {warning["msg"]}
        assert len([line for line in warnings(server) if line["msg"] != late]) == 1
        assert all(line.startswith("{") for line in server.log_text().splitlines())


def test_a_collector_that_does_not_respond_delays_the_exit_briefly(config_for: MakeConfig):
    with HttpCollector() as collector:
        released = collector.hold()
        try:
            with RunningServer(config_for(collector.host).folder) as server:
                server.get(f"{API}/jobs")
                wait_until(lambda: collector.requests, "a request that is not answered")
                assert server.terminate(timeout_s=8.0) == 0
                assert "Telemetry not sent at shutdown" in server.log_text()
        finally:
            released.set()


def test_export_resumes_when_the_collector_is_available_again(config_for: MakeConfig):
    with HttpCollector() as collector:
        collector.status = 400  # which is not tried again
        with RunningServer(config_for(collector.host).folder) as server:
            server.get(f"{API}/jobs")
            (warning,) = wait_until(lambda: warnings(server), "the warning")
            assert "400" in warning["error"]
            collector.status = 200
            server.get(f"{API}/providers")
            collector.span(f"GET {API}/providers")
            again = "OpenTelemetry collector accepts telemetry again"
            wait_until(lambda: again in server.log_text(), "the good news")
            assert len(warnings(server)) == 1


def test_stdout_gets_one_object_per_line(config_for: MakeConfig):
    with RunningServer(config_for("", exporter_type="stdout").folder) as server:
        server.get(f"{API}/jobs")
        spans = wait_until(lambda: [x for x in printed(server) if "context" in x], "a span")
        metrics = wait_until(lambda: [x for x in printed(server) if "resource_metrics" in x], "metrics")
        records = wait_until(lambda: [x for x in printed(server) if "body" in x], "a log record")
    assert spans[0]["name"] == f"GET {API}/jobs"
    for resource in (
        spans[0]["resource"],
        metrics[0]["resource_metrics"][0]["resource"],
        records[0]["resource"],
    ):
        assert resource["attributes"]["service.name"] == "eval-hub-server"


def printed(server: RunningServer) -> list[dict[str, Any]]:
    """Lines of standard output that are not log lines."""
    lines = [json.loads(line) for line in server.log_text().splitlines(keepends=True) if line.endswith("\n")]
    return [line for line in lines if "msg" not in line]


def test_without_the_extra_the_start_fails_with_the_package_to_install(
    config_for: MakeConfig, tmp_path: Path
):
    config = config_for("localhost:4317", exporter_type="otlp-grpc")
    with pytest.raises(AssertionError, match=r"ended with 1") as raised:
        RunningServer(config.folder, env={"PYTHONPATH": str(without_opentelemetry(tmp_path))}).start()
    assert "pip install 'eval-hub-server[otel]'" in str(raised.value)


def test_check_reports_the_missing_extra(config_for: MakeConfig, tmp_path: Path):
    config = config_for("localhost:4317", exporter_type="otlp-grpc")
    command = [sys.executable, "-m", "evalhub_server", "check", "--local", "--configdir", str(config.folder)]
    env = {**os.environ, "PYTHONPATH": str(without_opentelemetry(tmp_path))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'eval-hub-server[otel]'" in done.stdout


def test_a_server_without_telemetry_needs_no_extra_and_imports_none(config_for: MakeConfig, tmp_path: Path):
    config = config_for("localhost:4317", enabled=False)
    with RunningServer(config.folder, env={"PYTHONPATH": str(without_opentelemetry(tmp_path))}) as server:
        assert server.finished(server.submit())["status"]["state"] == "completed"


def without_opentelemetry(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that hides OpenTelemetry, as if it were not installed."""
    folder = tmp_path / "without"
    folder.mkdir()
    finder = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('opentelemetry', 'grpc'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    (folder / "sitecustomize.py").write_text(finder, "utf-8")
    return folder
