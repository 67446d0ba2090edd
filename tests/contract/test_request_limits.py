"""Incomplete requests and heads that are too large do not hold a connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness import Config, RunningServer

PATH = "/api/v1/evaluations/jobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    limits = {
        "read_timeout": "300ms",
        "read_header_timeout": "300ms",
        "idle_timeout": "1s",
        "max_header_bytes": 5000,
    }
    config = Config(tmp_path_factory.mktemp("limits") / "c", service=limits)
    with RunningServer(config.folder) as running:
        yield running


def exchange(server: RunningServer, *pieces: bytes) -> bytes:
    """Send the pieces, then read until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /api/v1/health HT", b"408 Request Timeout"),
        (b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\nX-Tenant: a", b"408 Request Timeout"),
        (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{".encode(),
            b"408 Request Timeout",
        ),
        (
            f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode(),
            b"408 Request Timeout",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 6000 + b"\r\n\r\n",
            b"431 Request Header Fields Too Large",
        ),
        (b"GET /" + b"a" * 6000, b"431 Request Header Fields Too Large"),
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
    ],
    ids=["head", "field", "body", "chunked-body", "large-head", "large-start", "nonsense"],
)
def test_an_incomplete_or_oversized_request_gets_a_response_and_is_closed(
    server: RunningServer, sent: bytes, status: bytes
):
    answer = exchange(server, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.count(b"HTTP/1.1") == 1


def test_a_connection_without_a_request_is_closed_without_a_response(server: RunningServer):
    assert exchange(server) == b""


def test_an_idle_connection_is_closed_after_the_idle_timeout(
    server: RunningServer,
):
    answer = exchange(server, b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_second_request_on_the_connection_has_the_same_limits(server: RunningServer):
    good = b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = exchange(server, good, b"GET /api/v1/hea")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1 408") == 1


def test_bodies_do_not_count_towards_the_head_limit(server: RunningServer):
    body = b" " * 20_000 + b"{}"
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    assert exchange(server, head.encode() + body).startswith(b"HTTP/1.1 400")
    assert exchange(server, head.encode(), body[:9000], body[9000:]).startswith(b"HTTP/1.1 400")


def test_the_server_still_serves_after_all_that(server: RunningServer):
    assert server.get("/api/v1/health")["status"] == "healthy"
