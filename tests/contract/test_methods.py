"""HTTP methods: which paths have them, and the 405 for others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.raw import head, raw_request, send
from harness.server import API

JOB = f"{API}/jobs/no-such-job"
OPERATIONS = ("get", "post", "put", "patch", "delete")
INVENTED = ["BREW", "get", "GETX", "M-ODD", "X!#$%&'*+.^_`|~9"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", *INVENTED]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(Config(tmp_path_factory.mktemp("methods") / "config").folder) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("cluster") / "config", plugins={"runtime": "local"})
    with RunningServer(config.folder, flags=("--configdir", str(config.folder))) as running:
        running.headers = {"X-Tenant": "t", "X-User": "u"}
        yield running


def routes(document: dict[str, Any]) -> dict[str, set[str]]:
    """Path, with something for each parameter → the methods that are described for it."""
    found = {
        re.sub(r"\{\w+index\}", "0", path): {m.upper() for m in OPERATIONS if m in item}
        for path, item in document["paths"].items()
    }
    return {re.sub(r"\{\w+\}", "no-such-one", path): methods for path, methods in found.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", ["server", "cluster"])
def test_every_route_serves_its_methods_and_lists_them_for_others(
    request: pytest.FixtureRequest, mode: str, method: str
):
    running: RunningServer = request.getfixturevalue(mode)
    described = routes(running.get("/openapi.json"))
    assert f"{API}/jobs/no-such-one/benchmarks/0/logs" in described
    fields = [f"{name}: {value}" for name, value in running.headers.items()]
    for path, methods in described.items():
        if path == "/metrics":
            continue  # answers any method, as in the contract
        answered = (
            methods | ({"HEAD"} if "GET" in methods else set()) | ({"OPTIONS"} if mode == "server" else set())
        )
        answer = raw_request(running.port, method, f"{path}?a=%20b", *fields)
        if method in answered:
            assert answer.status in (200, 400, 404), (method, path)
            continue
        assert answer.status == 405, (method, path)
        assert answer.headers["allow"] == ", ".join(sorted(answered)), path
        if method != "HEAD":
            assert answer.body["message_code"] == "method_not_allowed"
            assert f"method {method} is not allowed for the API {path}?a=%20b" in answer.body["message"]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "HEAD"])
def test_an_unknown_path_is_404_for_every_method(server: RunningServer, method: str):
    for path in ("/nowhere", "/api/v1/Health", f"{API}/jobs/", "/api/v1/health/", f"{JOB}/nothing"):
        answer = raw_request(server.port, method, path)
        assert (answer.status, answer.body) == (404, "404 page not found\n"), path
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", METHODS)
def test_the_root_redirects_readers_to_the_viewer_and_has_no_other_method(server: RunningServer, method: str):
    answer = raw_request(server.port, method, "/")
    if method in ("GET", "HEAD"):
        assert (answer.status, answer.headers["location"]) == (303, "/ui/jobs")
    else:
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/api/v1/health", f"{API}/jobs", f"{API}/providers", JOB, "/nowhere"])
def test_head_is_get_without_the_body(server: RunningServer, path: str):
    got, headed = (raw_request(server.port, method, path) for method in ("GET", "HEAD"))
    assert headed.body == ""
    assert got.body
    assert headed.status == got.status
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert headed.headers.keys() == got.headers.keys()


def test_after_an_unknown_method_the_connection_stays_open(server: RunningServer):
    one = b"BREW /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = send(server.port, one + head("GET", "/api/v1/health", "Host: localhost"))
    assert answer.status == 405
    answer = send(server.port, head("BREW", f"{API}/jobs", "Host: localhost", "Content-Length: 3") + b"GET")
    assert answer.status == 405


def test_an_unknown_method_passes_the_same_checks(server: RunningServer, cluster: RunningServer):
    assert raw_request(server.port, "BREW", "/api/v1/health", "Host: evil.example").status == 403
    assert raw_request(server.port, "BREW", "/api/v1/health", "Origin: https://evil.example").status == 403
    assert raw_request(cluster.port, "BREW", f"{API}/jobs").body["message_code"] == "missing_tenant_header"


@pytest.mark.parametrize(
    "start",
    [
        b"GE\x01T / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"BREW/ HTTP/1.1",
        b" GET / HTTP/1.1",
        b"A" * 33 + b" / HTTP/1.1",
        b"BREW / HTTP/9.9",
        b"BREW / HTP/1.1",
        b"PRI * HTTP/2.0",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
def test_a_malformed_method_is_400(server: RunningServer, start: bytes):
    answer = send(server.port, start + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.status == 400


def test_a_second_request_in_a_malformed_piece_is_not_parsed_as_the_first(server: RunningServer):
    """What stands after a request that has not been answered yet is never parsed again from its start."""
    both = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\nBREW / HTTP/1.1\r\n\r\n"
    assert send(server.port, both).status in (200, 400)
