"""Bodies that are too large, alone or together: the client sees the response, whatever it is still sending."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness import Config, RunningServer
from harness.server import API

MIB = 1024 * 1024
LIMIT = 100_000
TOTAL = 300_000
JOBS = f"{API}/jobs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    limits = {"max_request_body_bytes": LIMIT, "max_inflight_body_bytes": TOTAL}
    config = Config(tmp_path_factory.mktemp("bodies") / "config", service=limits)
    with RunningServer(config.folder) as running:
        yield running


def head(*fields: str, path: str = JOBS, version: str = "1.1") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/{version}", "Host: localhost", *fields, "", ""]).encode()


def answer_of(connection: socket.socket) -> tuple[int, Any]:
    """The status and the decoded body of the response."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def send_until_refused(connection: socket.socket) -> None:
    for _ in range(1000):
        connection.sendall(b"x" * MIB)


@pytest.mark.parametrize(
    "fields",
    [
        (f"Content-Length: {LIMIT + 1}",),
        ("Content-Length: 10000000000",),
        (f"Content-Length: {LIMIT + 1}", "Expect: 100-continue"),
        (f"Content-Length: {LIMIT + 1}", "Connection: close"),
    ],
)
def test_an_announced_body_above_the_limit_is_refused_before_it_comes(
    server: RunningServer, fields: tuple[str, ...]
):
    with connect(server) as connection:
        connection.sendall(head(*fields))
        status, body = answer_of(connection)
        assert (status, body["message_code"]) == (413, "request_body_too_large")
        assert connection.recv(1) == b""  # released, though nothing of the body has come


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_client_that_sends_first_and_reads_later_sees_the_refusal(server: RunningServer, version: str):
    size = LIMIT + 15 * MIB
    with connect(server) as connection:
        connection.sendall(head(f"Content-Length: {size}", version=version))
        for _ in range(size // LIMIT):
            connection.sendall(b"x" * LIMIT)
        connection.sendall(b"x" * (size % LIMIT))
        assert answer_of(connection)[0] == 413


def test_chunks_above_the_limit_are_refused_before_the_last_one(server: RunningServer):
    with connect(server) as connection:
        connection.sendall(head("Transfer-Encoding: chunked"))
        connection.sendall(b"%x\r\n%s\r\n" % (LIMIT + 1, b"x" * (LIMIT + 1)))
        assert answer_of(connection)[0] == 413
        connection.sendall(b"%x\r\n%s\r\n" % (MIB, b"x" * MIB))
        connection.sendall(b"not a chunk")
        assert connection.recv(1) == b""  # no second response


def test_more_than_16_mib_after_the_response_end_the_connection(server: RunningServer):
    with connect(server) as connection:
        connection.sendall(head("Content-Length: 10000000000"))
        assert answer_of(connection)[0] == 413
        with pytest.raises(ConnectionError):
            send_until_refused(connection)


@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
def test_other_refusals_do_not_read_more_either(server: RunningServer, fields: tuple[str, ...]):
    with connect(server) as connection:
        connection.sendall(head("Content-Length: 10000000000", *fields, path="/api/v1/health"))
        assert answer_of(connection)[0] == 405
        with pytest.raises(ConnectionError):
            send_until_refused(connection)


def test_a_large_head_is_refused_though_more_comes(server: RunningServer):
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (8 * MIB))
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 431


@pytest.mark.parametrize("chunked", [False, True])
def test_httpx_sees_the_refusal(server: RunningServer, chunked: bool):
    content = b"x" * (LIMIT + 10 * MIB)
    pieces = (content[start : start + MIB] for start in range(0, len(content), MIB))
    answer = httpx.post(f"http://127.0.0.1:{server.port}{JOBS}", content=pieces if chunked else content)
    assert (answer.status_code, answer.json()["message_code"]) == (413, "request_body_too_large")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("expect", ["Expect: 100-continue", "Expect:"])
@pytest.mark.parametrize("encoding", ["Transfer-Encoding: chunked", "X-None: 1"])
def test_curl_sees_the_refusal(server: RunningServer, tmp_path: Path, expect: str, encoding: str):
    file = tmp_path / "body"
    file.write_bytes(b"x" * (LIMIT + 10 * MIB))
    url = f"http://127.0.0.1:{server.port}{JOBS}"
    command = ["curl", "-sS", "-H", expect, "-H", encoding, "--data-binary", f"@{file}", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["message_code"] == "request_body_too_large"


def test_bodies_that_need_too_much_memory_together_are_refused(server: RunningServer):
    part = b"x" * (LIMIT - 10)
    with ExitStack() as stack:
        held = [stack.enter_context(connect(server)) for _ in range(3)]
        for connection in held:
            connection.sendall(head(f"Content-Length: {LIMIT}") + part)
        with connect(server) as late:
            late.sendall(head(f"Content-Length: {LIMIT}") + part)
            response = http.client.HTTPResponse(late)
            response.begin()
            assert (response.status, response.getheader("retry-after")) == (503, "1")
            assert json.loads(response.read())["message_code"] == "too_many_request_bodies"
        assert server.get("/api/v1/health")["status"] == "healthy"
        for connection in held:
            connection.sendall(b"x" * 10)
            assert answer_of(connection)[0] == 400
    # All is released, whether its request was completed or not.
    for _ in range(5):
        assert server.call("POST", JOBS, b"x" * LIMIT).refusal == (400, "invalid_json_request")
    assert [line for line in server.log_lines() if line["level"] == "error"] == []


def test_memory_is_released_when_the_client_disappears(server: RunningServer):
    for _ in range(10):
        with connect(server) as connection:
            connection.sendall(head(f"Content-Length: {LIMIT}") + b"x" * (LIMIT - 10))
    for _ in range(3):
        assert server.call("POST", JOBS, b"x" * LIMIT).refusal == (400, "invalid_json_request")


def test_http_1_0_gets_a_log_that_ends_with_the_connection(tmp_path: Path):
    config = Config(tmp_path / "config")
    config.scripted("say:hello", "completed")
    with RunningServer(config.folder) as running:
        job_id = running.submit()
        running.finished(job_id)
        with connect(running) as connection:
            connection.sendall(f"GET {JOBS}/{job_id}/logs HTTP/1.0\r\n\r\n".encode())
            received = b""
            while piece := connection.recv(65536):
                received += piece
        fields, _, text = received.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in fields.lower()
        assert b"trailer" not in fields.lower()
        assert text.decode() == running.logs(job_id)
