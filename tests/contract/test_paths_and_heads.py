"""Malicious request paths and heads."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer, wait_until
from harness.raw import head, raw_request, send
from harness.server import API

JOBS = f"{API}/jobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("paths"))
    config.provider("true")
    with RunningServer(config.folder) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/{JOBS}", JOBS),
        ("//evil.example/x", "/evil.example/x"),
        ("/x/../\\evil.example", "/%5Cevil.example"),
        (f"{API}//jobs?limit=1&a=%2F", f"{JOBS}?limit=1&a=%2F"),
        (f"{API}/./jobs", JOBS),
        (f"{API}/x/../jobs", JOBS),
        (f"{JOBS}//", f"{JOBS}/"),
        (f"{JOBS}/..", API),
        ("/../../etc/passwd", "/etc/passwd"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_double_slashes_and_dots_redirect_to_the_clean_path(
    server: RunningServer, method: str, path: str, location: str
):
    answer = raw_request(server.port, method, path)
    assert (answer.status, answer.headers["location"]) == (307, location)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("segment", "resource"),
    [
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("x%2flogs", "x/logs"),
        ("..%2F..%2Fproviders", "../../providers"),
        ("%2e%2e", ".."),
        ("%00", "\0"),
        ("a%00b%0a", "a\0b\n"),
        ("%ff", "\ufffd"),
        ("a%20b", "a b"),
        ("%1b[2J", "\x1b[2J"),
        ("a\\b", "a\\b"),
        ("x" * 10_000, "x" * 10_000),
    ],
)
@pytest.mark.parametrize("kind", ["jobs", "providers"])
def test_an_unusual_segment_is_an_unknown_id(server: RunningServer, kind: str, segment: str, resource: str):
    answer = raw_request(server.port, "GET", f"{API}/{kind}/{segment}")
    assert answer.refusal == (404, "resource_not_found")
    assert f"'{resource}'" in answer.body["message"]


@pytest.mark.parametrize(
    "path", ["/api/v1/health%2F", "/api%2Fv1/health", "/api/v1/health%00", "/api/v1/health;a", "*"]
)
def test_unusual_spellings_of_routes_are_404(server: RunningServer, path: str):
    answer = raw_request(server.port, "GET", path)
    assert (answer.status, answer.body) == (404, "404 page not found\n")


@pytest.mark.parametrize("trace", ["abc", "x" * 256, "a b", '"quoted"', "<b>&", "${jndi:x}"])
def test_the_request_id_is_returned_unchanged(server: RunningServer, trace: str):
    answer = raw_request(server.port, "GET", f"{JOBS}/nope", f"X-Global-Transaction-Id: {trace}")
    assert (answer.status, answer.headers["x-global-transaction-id"]) == (404, trace)
    assert answer.body["trace"] == trace


def test_the_first_of_several_request_ids_is_used(server: RunningServer):
    answer = raw_request(server.port, "GET", JOBS, "X-Global-Transaction-Id: a", "X-Global-Transaction-Id: b")
    assert (answer.status, answer.headers["x-global-transaction-id"]) == (200, "a")


def test_log_lines_of_a_request_have_its_id(server: RunningServer):
    fields = {"X-Global-Transaction-Id": "of-a-provider"}
    body = {"name": "p", "benchmarks": [{"id": "b"}]}
    answer = server.call("POST", f"{API}/providers", body, fields)
    assert answer.status == 201, answer
    wait_until(lambda: any(line.get("uri") == f"{API}/providers" for line in server.log_lines()), "its line")
    messages = [line["msg"] for line in server.log_lines() if line.get("request_id") == "of-a-provider"]
    assert messages == ["Created provider", "Request successful"]


@pytest.mark.parametrize("trace", ["x" * 257, "a\tb", "\x9b31m", "\xc3\xa9"])
def test_an_invalid_request_id_is_replaced(server: RunningServer, trace: str):
    answer = raw_request(server.port, "GET", JOBS, f"X-Global-Transaction-Id: {trace}")
    assert answer.status == 200
    assert uuid.UUID(answer.headers["x-global-transaction-id"]).version == 4


def test_without_a_request_id_a_random_uuid_is_used(server: RunningServer):
    for fields in ((), ("X-Global-Transaction-Id:",)):
        traces = {
            raw_request(server.port, "GET", JOBS, *fields).headers["x-global-transaction-id"]
            for _ in range(20)
        }
        assert len(traces) == 20
        assert all(str(uuid.UUID(trace)) == trace and uuid.UUID(trace).version == 4 for trace in traces)


@pytest.mark.parametrize(
    "field",
    ["X-User: a\rb", "X-User: a\x00b", "X-User: a\x1b[31mb", "X User: a", "Host : a", "X-User: a\r\n folded"],
)
def test_malformed_heads_are_400(server: RunningServer, field: str):
    assert raw_request(server.port, "GET", JOBS, field).status == 400


def test_the_size_of_a_head_is_limited(server: RunningServer):
    assert raw_request(server.port, "GET", "/api/v1/health", f"X-Long: {'x' * 500_000}").status == 200
    endless = head("GET", "/api/v1/health", "Host: localhost", f"X-Long: {'x' * 3_000_000}")
    many = head("GET", "/api/v1/health", "Host: localhost", *("a: b" for _ in range(500_000)))
    for request in (endless, many):
        try:
            answer = send(server.port, request)
        except ConnectionError:
            continue  # closed while this side was still sending
        assert answer.status == 431
    assert server.get("/api/v1/health")["status"] == "healthy"


def test_no_request_breaks_a_log_line(server: RunningServer):
    nasty = '%0d%0a%1b[2J%e2%80%ae"}{\\'
    fields = (
        'X-Global-Transaction-Id: "}\\\\n',
        "User-Agent: \xe2\x80\xae\x85",
        "X-User: \xe2\x80\xae",
    )
    already = len(server.log_text())
    raw_request(server.port, "GET", f"{JOBS}/{nasty}?q={nasty}", *fields[:2])
    raw_request(server.port, "GET", JOBS, *fields)
    raw_request(server.port, "GET", JOBS, "Host: \x9b31m\xe2\x80\xae.example")
    raw_request(server.port, "POST", JOBS, "Origin: http://\x9b31m.example")
    raw_request(server.port, "GET", "/last-one")
    wait_until(lambda: "/last-one" in server.log_text(), "the log")
    lines = server.log_text()[already:].split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines), lines
    messages = [json.loads(line)["msg"] for line in lines]
    # On a busy machine, the server may find that it was not given a processor.
    requests = [message for message in messages if message != "Event loop blocked"]
    assert len(requests) == 5
    assert all(message.startswith("Request ") for message in requests), messages


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 3", "Transfer-Encoding: chunked"),
        ("Content-Length: 3", "Content-Length: 4"),
        ("Content-Length: +3",),
        ("Content-Length: 3, 3",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding : chunked",),
        ("Content-Length: -1",),
    ],
)
def test_heads_with_an_ambiguous_body_length_are_400(server: RunningServer, fields: tuple[str, ...]):
    """Or a proxy in front and this server may disagree about where the next request begins."""
    request = head("POST", JOBS, f"Host: localhost:{server.port}", *fields)
    smuggled = head("DELETE", f"{JOBS}/smuggled", "Host: localhost")
    assert send(server.port, request + b"0\r\n\r\n" + smuggled).status == 400
    assert "smuggled" not in server.log_text()


def test_the_length_of_a_path_is_limited(server: RunningServer):
    assert raw_request(server.port, "GET", f"{JOBS}/{'x' * 10_000}").status == 404
    answer = raw_request(server.port, "GET", f"{JOBS}/{'x' * 20_000}")
    assert answer.refusal == (414, "uri_too_long")
