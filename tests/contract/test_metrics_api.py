"""``/metrics`` as Prometheus scrapes it."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evalhub_server.errors import SettingsError
from evalhub_server.settings import load_settings
from harness import Config, RunningServer, wait_until
from harness.imports import loaded_by
from harness.server import API

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
Sample = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """The samples of one answer."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._values: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((name, frozenset(labels.items())))

    def total(self, name: str, **labels: str) -> float:
        """The sum over all samples with these labels, among others."""
        wanted = set(labels.items())
        return sum(value for (key, have), value in self._values.items() if key == name and wanted <= have)

    def values_of(self, label: str) -> set[str]:
        return {value for _, have in self._values for name, value in have if name == label}


def scrape(server: RunningServer) -> Scrape:
    answer = server.call("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    return Scrape(answer.body)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def started(server: RunningServer) -> dict[str, Any]:
    return next(line for line in reversed(server.log_lines()) if line["msg"] == "API Server starting")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(
        tmp_path / "config",
        supervisor={"exit_grace": "100ms", "stop_grace": "300ms"},
        local={"max_parallel": 1, "jobs_dir": str(tmp_path / "jobs")},
    )
    made.scripted("running", "completed")
    made.scripted("exit:3", provider_id="fails")
    made.scripted("running", "hang", provider_id="hangs")
    return made


@pytest.fixture
def server(config: Config) -> Iterator[RunningServer]:
    with RunningServer(config.folder) as running:
        yield running


def test_outcomes_of_jobs_are_counted(server: RunningServer, config: Config):
    for provider in ("scripted", "fails", "scripted"):
        server.finished(server.submit(provider=provider))
    hanging = server.submit(provider="hangs")
    server.in_state(hanging, "running")
    server.call("DELETE", f"{API}/jobs/{hanging}")

    seen = scrape(server)
    jobs, benchmarks = "evalhub_evaluation_jobs_total", "evalhub_benchmark_completions_total"
    assert seen(jobs, provider="scripted", collection="", status="pending") == 2
    assert seen(jobs, provider="scripted", collection="", status="completed") == 2
    assert seen(jobs, provider="fails", collection="", status="failed") == 1
    assert seen(jobs, provider="hangs", collection="", status="cancelled") == 1
    assert seen(benchmarks, benchmark_name="b", provider="scripted", status="completed") == 2
    assert seen("evalhub_evaluation_errors_total", error_type="job_failed", provider="fails") == 1
    assert seen("evalhub_evaluation_job_actions_total", action="created", runtime="local") == 4
    assert seen("evalhub_evaluation_job_actions_total", action="cancelled", runtime="local") == 1
    assert seen("evalhub_evaluation_job_completions_total", state="completed") == 2
    duration = "evalhub_evaluation_job_duration_seconds"
    assert seen(f"{duration}_count", provider="scripted", collection="") == 2
    assert seen(f"{duration}_bucket", provider="scripted", collection="", le="8192") == 2
    assert seen("evalhub_benchmark_duration_seconds_count", benchmark_name="b", provider="scripted") == 2
    assert (seen("evalhub_evaluation_jobs_active"), seen("evalhub_evaluation_queue_depth")) == (0, 0)
    assert seen("process_cpu_seconds_total") is not None


def test_jobs_of_a_collection_have_its_id(config: Config):
    members = [{"id": "b", "provider_id": "scripted"}]
    config.write(
        "collections/suite.yaml", {"id": "suite", "name": "s", "category": "c", "benchmarks": members}
    )
    body = {"name": "j", "model": {"url": "http://m.test", "name": "m"}, "collection": {"id": "suite"}}
    with RunningServer(config.folder) as server:
        server.finished(server.call("POST", f"{API}/jobs", body).body["resource"]["id"])
        labels = {"provider": "scripted", "collection": "suite"}
        assert scrape(server)("evalhub_evaluation_jobs_total", status="completed", **labels) == 1


def test_gauges_are_correct_after_a_crash_and_after_a_hard_delete(config: Config, tmp_path: Path):
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        jobs = [server.submit(provider="hangs") for _ in range(3)]
        server.in_state(jobs[0], "running")
        server.kill()
        server.start()
        seen = scrape(server)
        assert (seen("evalhub_evaluation_jobs_active"), seen("evalhub_evaluation_queue_depth")) == (3, 2)
        assert (seen("evalhub_workloads_running"), seen("evalhub_benchmarks_waiting")) == (1, 2)
        assert seen.total("evalhub_evaluation_jobs_total") == 0  # counters begin with the process
        for job in reversed(jobs):
            assert server.call("DELETE", f"{API}/jobs/{job}?hard_delete=true").status == 204
        seen = scrape(server)
        assert (seen("evalhub_evaluation_jobs_active"), seen("evalhub_evaluation_queue_depth")) == (0, 0)
        assert (seen("evalhub_workloads_running"), seen("evalhub_benchmarks_waiting")) == (0, 0)


def test_requests_are_counted_by_route_and_never_by_path(server: RunningServer):
    for number in range(20):
        server.call("GET", f"{API}/jobs/job-{number}")
        server.call("GET", f"/no/such/path-{number}")
    server.call("HEAD", "/api/v1/health")
    seen = scrape(server)
    route = f"{API}/jobs/{{job_id}}"
    count = "http_server_request_count_total"
    assert seen(count, http_request_method="GET", http_route=route, http_response_status_code="404") == 20
    assert (
        seen(count, http_request_method="GET", http_route="not_found", http_response_status_code="404") == 20
    )
    assert seen.total(count, http_request_method="HEAD", http_route="/api/v1/health") == 1
    assert not [value for value in seen.values_of("http_route") if "job-" in value or "path-" in value]
    assert seen.total("http_server_request_duration_seconds_count", http_route=route) == 20
    assert seen.total("http_server_response_body_size_bytes_sum", http_route=route) > 2000
    labels = {"endpoint": route, "method": "GET", "collection": "", "provider": ""}
    assert seen("evalhub_api_request_duration_seconds_count", **labels) == 20
    assert seen("evalhub_api_request_duration_seconds_bucket", le="10", **labels) == 20


def test_request_bodies_are_counted_in_bytes(server: RunningServer):
    server.call("POST", f"{API}/jobs", b"x" * 321)
    sum_ = "http_server_request_body_size_bytes_sum"
    assert scrape(server).total(sum_, http_route=f"{API}/jobs", http_response_status_code="400") == 321


def test_a_request_is_active_until_its_response_is_complete(server: RunningServer):
    # The scrape is the only request just now, and it is still being answered.
    assert scrape(server)("http_server_active_requests", http_request_method="GET", url_scheme="http") == 1
    assert scrape(server)("http_server_active_requests", http_request_method="GET", url_scheme="http") == 1


def test_a_start_does_not_wait_for_prometheus_client():
    assert "prometheus_client" not in loaded_by("import evalhub_server.cli.server")


def test_there_is_no_metrics_listener_unless_it_is_configured(server: RunningServer):
    assert started(server)["metrics_port"] is None


def test_the_metrics_listener_serves_metrics_only(config: Config, tmp_path: Path):
    made = Config(tmp_path / "own", prometheus={"enabled": True, "port": 0})
    with RunningServer(made.folder) as server:
        server.get("/api/v1/health")
        port = started(server)["metrics_port"]
        trace = {"X-Global-Transaction-Id": "scrape-1"}
        status, headers, text = ask(port, "/metrics", **trace)
        assert (status, headers["content-type"]) == (200, CONTENT_TYPE)
        assert headers["x-global-transaction-id"] == "scrape-1"
        assert Scrape(text).total("http_server_request_count_total", http_route="/api/v1/health") == 1
        for method in ("HEAD", "POST", "PUT", "DELETE"):
            assert ask(port, "/metrics", method)[0] == 200
        for path in ("/", "/api/v1/health", f"{API}/jobs", "/metrics/"):
            status, headers, text = ask(port, path)
            assert (status, text) == (404, "404 page not found\n")
            assert len(headers["x-global-transaction-id"]) == 36
        assert server.terminate() == 0


def test_in_a_cluster_metrics_are_on_their_own_listener_only(tmp_path: Path):
    made = Config(
        tmp_path / "c",
        plugins={"runtime": "local"},
        prometheus={"enabled": True, "port": 0, "host": "127.0.0.1"},
    )
    with RunningServer(made.folder, flags=("--configdir", str(made.folder))) as server:
        assert server.call("GET", "/metrics").status == 404
        assert ask(started(server)["metrics_port"], "/metrics")[0] == 200


@pytest.mark.parametrize("local", [True, False])
def test_the_metrics_listener_has_the_rules_of_the_api_for_host_and_token(tmp_path: Path, local: bool):
    token = tmp_path / "token"
    token.write_text("x" * 40)
    made = Config(
        tmp_path / "c",
        plugins={"runtime": "local"},
        prometheus={"enabled": True, "port": 0, "host": "127.0.0.1"},
        service={
            "auth_token_file": str(token),
            **({} if local else {"host": "127.0.0.1", "allowed_hosts": ["metrics.test"]}),
        },
    )
    flags = ("--configdir", str(made.folder), *(["--local"] if local else []))
    bearer = {"Authorization": f"Bearer {'x' * 40}"}
    with RunningServer(made.folder, flags=flags) as server:
        port = started(server)["metrics_port"]
        assert ask(port, "/metrics", **bearer)[0] == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            status, fields, text = ask(port, "/metrics", **headers)
            assert (status, json.loads(text)["message_code"]) == (401, "unauthorized")
            assert fields["www-authenticate"].startswith("Bearer")
            assert len(fields["x-global-transaction-id"]) == 36
        status, _, text = ask(port, "/metrics", Host="rebound.example", **bearer)
        assert (status, "rebound.example" in text, "evalhub_" in text) == (403, True, False)
        assert ask(port, "/metrics", Host="metrics.test", **bearer)[0] == (403 if local else 200)


@pytest.mark.parametrize("with_api_token", [True, False])
def test_scrapes_may_have_a_token_of_their_own(tmp_path: Path, with_api_token: bool):
    (tmp_path / "scrape").write_text("s" * 40)
    (tmp_path / "api").write_text("a" * 40)
    made = Config(
        tmp_path / "c",
        prometheus={
            "enabled": True,
            "port": 0,
            "host": "127.0.0.1",
            "auth_token_file": str(tmp_path / "scrape"),
        },
        service={"auth_token_file": str(tmp_path / "api") if with_api_token else ""},
    )
    with RunningServer(made.folder) as server:
        server.headers = {}
        scrape, api = ({"Authorization": f"Bearer {letter * 40}"} for letter in "sa")
        for port in (started(server)["metrics_port"], server.port):
            assert ask(port, "/metrics", **scrape)[0] == 200
            assert ask(port, "/metrics", **api)[0] == (200 if with_api_token else 401)
            assert ask(port, "/metrics")[0] == 401
        # The token opens nothing else.
        assert ask(server.port, f"{API}/jobs", **scrape)[0] == (401 if with_api_token else 200)
        assert ask(server.port, f"{API}/jobs", **api)[0] == 200
        assert "s" * 40 not in server.log_text()


def test_an_unusable_scrape_token_is_an_error(tmp_path: Path):
    made = Config(tmp_path / "c", prometheus={"auth_token_file": str(tmp_path / "gone")})
    with pytest.raises(SettingsError, match=r"prometheus\.auth_token_file: .*gone cannot be read"):
        load_settings(local=True, configdir=made.folder, environ={})


def test_a_metrics_port_in_use_is_logged_and_the_server_starts(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        made = Config(tmp_path / "c", prometheus={"enabled": True})
        with RunningServer(made.folder, env={"METRICS_PORT": str(port)}) as server:
            (line,) = [line for line in server.log_lines() if line["level"] == "error"]
            assert line["msg"] == "Metrics listener not started"
            assert f"127.0.0.1:{port}" in line["error"]
            assert "METRICS_PORT" in line["error"]
            assert scrape(server)("evalhub_evaluation_jobs_active") == 0


def test_the_server_stops_during_a_scrape(config: Config, tmp_path: Path):
    made = Config(tmp_path / "own", prometheus={"enabled": True, "port": 0})
    with (
        RunningServer(made.folder) as server,
        socket.create_connection(("127.0.0.1", started(server)["metrics_port"])) as reader,
    ):
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: reader.recv(4096), "the first bytes of the answer")
        assert server.terminate() == 0
