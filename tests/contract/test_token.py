"""``service.auth_token_file``: authentication of clients, and reports of adapters."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.raw import raw_request
from harness.server import API

TOKEN = "0123456789abcdef0123456789abcdef"
BUNDLED = Path(__file__).parents[2] / "config" / "providers"
OTHER = "fedcba9876543210fedcba9876543210"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def server_url(server: RunningServer) -> str:
    return f"http://localhost:{server.port}"


def guarded(folder: Path) -> Config:
    folder.mkdir(parents=True)
    token = folder / "token"
    token.write_text(f"{TOKEN}\n")
    return Config(folder / "config", service={"port": 0, "auth_token_file": str(token)})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    made = guarded(tmp_path_factory.mktemp("token") / "module")
    made.scripted("running", "env:EVALHUB_TOKEN", "env:MINE", "completed")
    made.provider("sleep 600 # waits for the test's own events", provider_id="waits")
    made.write("providers/quickstart.yaml", (BUNDLED / "quickstart.yaml").read_text("utf-8"))
    return made


@pytest.fixture(scope="module")
def server(config: Config) -> Iterator[RunningServer]:
    env = {"EVALHUB_TOKEN": "another", "MINE": TOKEN, "API_HOST": "0.0.0.0"}
    with RunningServer(config.folder, env=env) as running:
        running.headers = bearer(TOKEN)
        yield running


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{API}/jobs"),
        ("POST", f"{API}/jobs"),
        ("GET", f"{API}/jobs/x"),
        ("DELETE", f"{API}/jobs/x"),
        ("POST", f"{API}/jobs/x/events"),
        ("GET", f"{API}/jobs/x/logs"),
        ("GET", f"{API}/jobs/x/benchmarks/0/logs"),
        ("GET", f"{API}/providers"),
        ("GET", f"{API}/providers/x"),
        ("PUT", f"{API}/jobs"),
        ("GET", "/nowhere"),
        ("GET", "/docsx"),
        ("GET", "/api/v1/health/"),
        ("GET", "/api/v1/health%2F"),
        ("GET", "/api/v1/health/../evaluations/jobs"),
        ("GET", "//"),
    ],
)
@pytest.mark.parametrize("credentials", ["", "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer"])
def test_requests_without_the_token_are_401(server: RunningServer, method: str, path: str, credentials: str):
    fields = [f"Authorization: {credentials}"] if credentials else []
    answer = raw_request(server.port, method, path, *fields, body=b"{}" if method == "POST" else b"")
    assert answer.refusal == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="evalhub"'
    assert answer.body["detail"] == answer.body["message"]


def test_health_documentation_and_preflights_require_no_token(server: RunningServer):
    for path in (
        "/api/v1/health",
        "/api/v1/ready",
        "/docs",
        "/docs/docs.js",
        "/openapi.yaml",
        "/openapi.json",
    ):
        assert raw_request(server.port, "GET", path).status == 200, path
    for path in ("/docs/../api/v1/evaluations/jobs", "/docs//api/v1/evaluations/jobs"):
        # To the path that requires the token.
        assert raw_request(server.port, "GET", path).status == 307, path
    for path in ("/docs/%2e%2e/api/v1/evaluations/jobs", "/docs/..%2Fapi%2Fv1%2Fevaluations%2Fjobs"):
        assert raw_request(server.port, "GET", path).status == 404, path
    assert raw_request(server.port, "HEAD", "/api/v1/health").status == 200
    answer = raw_request(server.port, "OPTIONS", f"{API}/jobs", "Origin: http://localhost:3000")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, "http://localhost:3000")
    answer = raw_request(server.port, "GET", f"{API}/jobs", "Origin: http://localhost:3000")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (401, "http://localhost:3000")


def test_a_foreign_origin_is_refused_even_with_the_token(server: RunningServer):
    fields = (f"Authorization: Bearer {TOKEN}", "Origin: https://evil.example")
    assert raw_request(server.port, "DELETE", f"{API}/jobs/x", *fields).status == 403


def test_a_callback_url_permits_reports_of_its_job_only(server: RunningServer, config: Config):
    job_id = server.submit()
    other = server.submit(provider="waits")
    assert server.finished(job_id)["status"]["state"] == "completed"
    for variable in ("EVALHUB_TOKEN", "MINE"):  # the server had both in its environment
        assert f"{variable}=None" in server.logs(job_id)
    (spec,) = (config.jobs_dir / job_id).rglob("job.json")
    assert stat.S_IMODE(spec.stat().st_mode) == 0o600
    assert TOKEN not in spec.read_text()
    callback = json.loads(spec.read_text())["callback_url"].removeprefix(server_url(server))
    secret = callback.rpartition("/")[2]
    assert callback == f"/callback/{secret}"
    server.headers = {}
    for method, path, status in [
        ("POST", f"{callback}{API}/jobs/{job_id}/events", 400),
        ("GET", f"{callback}{API}/jobs/{job_id}/events", 401),
        ("DELETE", f"{callback}{API}/jobs/{job_id}/events", 401),
        ("POST", f"{callback}{API}/jobs/{other}/events", 401),
        ("POST", f"{callback}/..{API}/jobs/{other}/events", 401),
        ("POST", f"{callback}{API}/jobs/{other}/../{job_id}/events", 401),
        ("POST", f"{callback}{API}/jobs/{other}%2F..%2F{job_id}/events", 401),
        ("POST", f"{callback}{API}/jobs/{job_id}/events/", 401),
        ("GET", f"{callback}{API}/jobs/{job_id}", 401),
        ("DELETE", f"{callback}{API}/jobs/{job_id}", 401),
        ("GET", f"{callback}{API}/jobs/{job_id}/logs", 401),
        ("POST", f"{callback}{API}/jobs", 401),
        ("GET", f"{callback}/api/v1/health", 401),
        ("GET", callback, 401),
    ]:
        assert server.call(method, path, {}).status == status, (method, path)
    headers = {"Authorization": f"Bearer {secret}"}
    assert server.call("POST", f"{API}/jobs/{job_id}/events", {}, headers).status == 401
    events = f"{callback}{API}/jobs/{job_id}/events"
    assert raw_request(server.port, "POST", events, "Origin: https://evil.example").status == 403
    assert raw_request(server.port, "POST", events, "X-Tenant: a", "X-Tenant: b").status == 400
    server.headers = bearer(TOKEN)
    assert server.call("DELETE", f"{API}/jobs/{other}").status == 204
    assert TOKEN not in server.log_text()
    assert secret not in server.log_text()
    events = [line for line in server.log_lines() if line.get("uri", "").endswith(f"{job_id}/events")]
    assert {line["uri"] for line in events if line["code"] == 204} == {f"{API}/jobs/{job_id}/events"}


def test_the_callback_token_is_shown_nowhere_else(server: RunningServer, config: Config):
    """Not in the log, error bodies, messages of benchmarks and the card, however a request's path is written."""
    config.provider(
        'token=$(grep -o "/callback/[^\\"]*" "$EVALHUB_JOB_SPEC_PATH"); echo "POST http://localhost:1$token/api/v1/evaluations/jobs/x/events failed"; '
        'echo "$token" >&2; exit 3',
        provider_id="quotes",
    )
    wait_until(lambda: server.call("GET", f"{API}/providers/quotes").status == 200, "the provider")
    job_id = server.submit(provider="quotes")
    failed = server.finished(job_id)
    (spec,) = (config.jobs_dir / job_id).rglob("job.json")
    callback = json.loads(spec.read_text())["callback_url"].removeprefix(server_url(server))
    secret = callback.rpartition("/")[2]
    assert secret in server.logs(job_id)  # logs of adapters stay as they are
    assert "/callback/[redacted]/api/v1/" in json.dumps(failed["status"])
    waiting = server.submit(provider="waits")
    wait_until(lambda: list((config.jobs_dir / waiting).rglob("job.json")), "the launch")
    (spec,) = (config.jobs_dir / waiting).rglob("job.json")
    second = json.loads(spec.read_text())["callback_url"].rpartition("/")[2]
    event = {
        "provider_id": "waits",
        "id": "b",
        "status": "failed",
        "error_message": {"message": f"404 at {server_url(server)}/callback/{second}/x", "message_code": "c"},
        "warning_message": {"message": f"/callback/{second}", "message_code": f"/callback/{second}"},
    }
    events = f"/callback/{second}{API}/jobs/{waiting}/events"
    assert server.call("POST", events, {"benchmark_status_event": event}).status == 204
    for method, path in [
        ("POST", f"/{callback}{API}/jobs/{job_id}/events"),
        ("POST", f"/x{callback}{API}/jobs/{job_id}/events"),
        ("POST", f"{callback}/{API}/jobs/{job_id}/events"),
        ("POST", f"/callback%2F{secret}{API}/jobs/{job_id}/events"),
        ("POST", f"/%63allback/{secret}{API}/jobs/{job_id}/events"),
        ("PUT", f"{API}/jobs?next={callback}"),
        ("GET", f"/{secret}{API}/jobs/{job_id}"),
        ("GET", f"{callback}/"),
    ]:
        for headers in ({}, {"Authorization": "Bearer wrong"}, bearer(TOKEN)):
            answer = raw_request(
                server.port, method, path, *(f"{name}: {value}" for name, value in headers.items())
            )
            assert answer.status == 307 or secret not in str(answer.body), (method, path, headers)
    shown = [
        server.log_text(),
        *(
            json.dumps(server.get(f"{API}/jobs/{job}{part}"))
            for job in (job_id, waiting)
            for part in ("", "/card")
        ),
    ]
    assert not any(token in text for text in shown for token in (secret, second))


def test_without_authentication_a_callback_path_is_accepted(tmp_path: Path):
    """An adapter may outlive a server with authentication, and report to one without."""
    config = Config(tmp_path / "config")
    config.provider("sleep 600 # waits for the test's own events")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        event = {"provider_id": "scripted", "id": "b", "benchmark_index": 0, "status": "running"}
        path = f"/callback/{'x' * 43}{API}/jobs/{job_id}"
        assert server.call("POST", f"{path}/events", {"benchmark_status_event": event}).status == 204
        assert server.call("GET", path).status == 404
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


def test_an_adapter_can_report_after_a_restart(tmp_path: Path):
    config = guarded(tmp_path / "restart")
    ready, go = tmp_path / "ready", tmp_path / "go"
    config.scripted("running", f"touch:{ready}", f"await:{go}", "completed")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        server.headers = bearer(TOKEN)
        job_id = server.submit()
        wait_until(ready.exists, "the adapter")
        server.kill()
        server.start()
        go.touch()
        assert server.finished(job_id)["status"]["state"] == "completed"


def test_a_changed_token_is_loaded_at_run_time_and_jobs_continue(tmp_path: Path):
    config = guarded(tmp_path / "rotation")
    ready, go = tmp_path / "ready", tmp_path / "go"
    config.scripted("running", f"touch:{ready}", f"await:{go}", "completed")
    with RunningServer(config.folder) as server:
        server.headers = bearer(TOKEN)
        job_id = server.submit()
        wait_until(ready.exists, "the adapter")
        (tmp_path / "rotation" / "token").write_text(OTHER)
        wait_until(lambda: server.call("GET", f"{API}/jobs").status == 401, "the end of the old token")
        server.headers = bearer(OTHER)
        go.touch()
        assert server.finished(job_id)["status"]["state"] == "completed"


def test_the_bundled_adapter_can_report(server: RunningServer):
    job_id = server.submit(
        "arithmetic", provider="quickstart", model={"url": "http://127.0.0.1:9/v1", "name": "m"}
    )
    (benchmark,) = server.finished(job_id)["status"]["benchmarks"]
    assert benchmark["error_message"]["message_origin"] == "adapter"  # there is no model


def test_with_a_token_the_server_may_listen_on_all_addresses(server: RunningServer):
    # Other tests of this server have sent events that it refuses.
    warnings = {line["msg"] for line in server.log_lines() if line["level"] == "warning"}
    assert warnings <= {"Refused event"}
