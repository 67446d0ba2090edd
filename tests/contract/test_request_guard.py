"""Host, origin and preflight: unusual forms, modes, and error texts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness import Config, RunningServer
from harness.raw import head, raw_request, send
from harness.server import API

HEALTH = "/api/v1/health"
EVIL = "Host: rebound.evil.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Config(tmp_path_factory.mktemp("guard")).folder) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("cluster"), plugins={"runtime": "local"})
    with RunningServer(config.folder, flags=("--configdir", str(config.folder))) as running:
        yield running


def test_a_refusal_names_the_setting(server: RunningServer):
    answer = raw_request(server.port, "GET", HEALTH, "Host: box.example.org:80")
    assert answer.refusal == (403, "host_not_allowed")
    assert "'box.example.org:80'" in answer.body["message"]
    assert "service.allowed_hosts" in answer.body["message"]
    assert answer.body["trace"] == answer.headers["x-global-transaction-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    answer = raw_request(server.port, "DELETE", HEALTH, "Origin: https://ui.example.org")
    assert "'https://ui.example.org'" in answer.body["message"]
    assert "service.allowed_origins" in answer.body["message"]


def test_a_request_without_a_host(server: RunningServer):
    assert send(server.port, head("GET", HEALTH, version="1.0")).status == 200
    answer = send(server.port, head("GET", HEALTH))
    assert answer.refusal == (400, "invalid_header")
    assert raw_request(server.port, "GET", HEALTH, EVIL, version="1.0").status == 403
    assert raw_request(server.port, "GET", HEALTH, "Host:").status == 403


def test_an_absolute_target_overrides_the_host(server: RunningServer):
    assert raw_request(server.port, "GET", f"http://localhost:{server.port}{HEALTH}", EVIL).status == 200
    for target in (
        "http://rebound.evil.example",
        "http://localhost@rebound.evil.example",
        "http://localhost:80@x",
    ):
        assert raw_request(server.port, "GET", target + HEALTH).status in (400, 403), target
    assert send(server.port, head("GET", f"http://localhost{HEALTH}")).status == 200
    assert raw_request(server.port, "CONNECT", "localhost:80").status in (400, 404, 405)


@pytest.mark.parametrize(
    "fields",
    [
        ("Host: localhost", EVIL),
        (EVIL, "Host: localhost"),
        ("Origin: http://localhost", "Origin: https://evil.example"),
        ("Authorization: Bearer a", "Authorization: Bearer b"),
        ("X-Tenant: a", "X-Tenant: a"),
        ("X-User: a", "X-User: b"),
        ("Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"),
    ],
)
def test_repeated_security_headers_are_refused(
    server: RunningServer, cluster: RunningServer, fields: tuple[str, ...]
):
    for running in (server, cluster):
        answer = raw_request(running.port, "GET", f"{API}/jobs", *fields)
        assert answer.refusal == (400, "invalid_header")
        assert "sent more than once" in answer.body["message"]
    assert raw_request(server.port, "GET", HEALTH, "Cookie: a=1", "Cookie: b=2").status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 405), ("none", 405)]
)
def test_without_an_origin_sec_fetch_site_decides(server: RunningServer, site: str, status: int):
    assert raw_request(server.port, "POST", HEALTH, f"Sec-Fetch-Site: {site}").status == status
    assert raw_request(server.port, "GET", HEALTH, f"Sec-Fetch-Site: {site}").status == 200


def test_a_preflight_from_a_page_of_this_computer(server: RunningServer):
    asked = ("Access-Control-Request-Method: PATCH", "Access-Control-Request-Private-Network: true")
    answer = raw_request(server.port, "OPTIONS", f"{API}/jobs", "Origin: http://localhost:3000", *asked)
    assert (answer.status, answer.body) == (204, "")
    assert {name: value for name, value in answer.headers.items() if name.startswith(("access", "vary"))} == {
        "vary": "Origin",
        "access-control-allow-origin": "http://localhost:3000",
        "access-control-expose-headers": "X-Global-Transaction-Id, ETag",
        "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
        "access-control-allow-headers": "Content-Type, Authorization, X-Global-Transaction-Id, X-Tenant, X-User, If-Match, If-None-Match, Last-Event-ID, Idempotency-Key",
        "access-control-max-age": "3600",
        "access-control-allow-private-network": "true",
    }
    foreign = raw_request(server.port, "OPTIONS", f"{API}/jobs", "Origin: https://evil.example", *asked)
    assert foreign.status == 204
    assert not [name for name in foreign.headers if name.startswith("access")]
    for path in ("/nowhere", "*", f"{API}/jobs/", "//x/../y"):
        assert raw_request(server.port, "OPTIONS", path).status == 204, path


def test_allowed_pages_can_read_errors(server: RunningServer):
    for path, status in (
        (f"{API}/jobs/nope", 404),
        (f"{API}/jobs?x=1", 400),
        (f"{API}/jobs/", 404),
        ("//", 307),
    ):
        answer = raw_request(server.port, "GET", path, "Origin: http://localhost:3000")
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert answer.headers["access-control-expose-headers"] == "X-Global-Transaction-Id, ETag"


def test_in_a_cluster_origins_are_not_checked_and_options_is_not_allowed(cluster: RunningServer):
    named = ("X-Tenant: a", "X-User: u", EVIL, "Origin: https://evil.example")
    answer = raw_request(cluster.port, "GET", f"{API}/jobs", *named)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith(("access", "vary"))]
    answer = raw_request(cluster.port, "OPTIONS", f"{API}/jobs", *named)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, POST")
    assert f"method OPTIONS is not allowed for the API {API}/jobs" in answer.body["message"]
    assert raw_request(cluster.port, "OPTIONS", f"{API}/jobs").body["message_code"] == "missing_tenant_header"
    assert raw_request(cluster.port, "OPTIONS", HEALTH).status == 405
    assert raw_request(cluster.port, "OPTIONS", "/nowhere").status == 404
    answer = raw_request(cluster.port, "HEAD", f"{API}/jobs/x/events", *named)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_in_a_cluster_configured_hosts_and_origins_are_checked(tmp_path_factory: pytest.TempPathFactory):
    service = {"allowed_hosts": ["box.example.org"], "allowed_origins": ["https://ui.example.org"]}
    config = Config(tmp_path_factory.mktemp("configured"), plugins={"runtime": "local"}, service=service)
    with RunningServer(config.folder, flags=("--configdir", str(config.folder))) as running:
        for fields, status in [
            (("Host: box.example.org",), 405),
            ((EVIL,), 403),
            (("Origin: https://ui.example.org",), 405),
            (("Origin: https://evil.example",), 403),
            (("Origin: http://localhost:3000",), 403),
            (("Sec-Fetch-Site: cross-site",), 403),
        ]:
            assert raw_request(running.port, "POST", HEALTH, *fields).status == status, fields
        for origin, allowed in [
            ("https://ui.example.org", "https://ui.example.org"),
            ("https://x.example", None),
        ]:
            answer = raw_request(running.port, "OPTIONS", f"{API}/jobs", f"Origin: {origin}")
            assert answer.status == 204
            assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_server_on_all_addresses(tmp_path_factory: pytest.TempPathFactory):
    config = Config(tmp_path_factory.mktemp("exposed"))
    with RunningServer(config.folder, env={"API_HOST": "0.0.0.0"}) as running:
        warnings = [line for line in running.log_lines() if line["level"] == "warning"]
        assert [line["host"] for line in warnings] == ["0.0.0.0", "0.0.0.0"]  # for the API and for its pages
        assert all("service.auth_token_file" in line["msg"] for line in warnings)
        for host, status in (("192.168.1.5:80", 405), ("[fd00::1]", 405), ("evil.example", 403)):
            assert raw_request(running.port, "POST", HEALTH, f"Host: {host}").status == status
        own = "Host: 192.168.1.5:8080"
        for origin, status in [
            ("http://192.168.1.5:8080", 405),
            ("http://192.168.1.5:3000", 403),
            ("https://192.168.1.5:8080", 403),
            ("http://192.168.1.6:8080", 403),
        ]:
            assert raw_request(running.port, "POST", HEALTH, own, f"Origin: {origin}").status == status, (
                origin
            )
