"""Forwarding of requests and responses, unchanged and streamed."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import free_port, wait_until
from harness.answering import AnsweringServer, Reply
from harness.sidecar import RunningSidecar

EVENTS = "/api/v1/evaluations/jobs/j/events"
TRANSACTION_ID = "x-global-transaction-id"


def test_health_needs_no_upstream(sidecar: RunningSidecar):
    answer = sidecar.call("GET", "/health")
    assert (answer.status, answer.body) == (200, "")
    assert sidecar.call("HEAD", "/health").status == 200
    assert sidecar.call("POST", "/health").body["message_code"] == "method_not_allowed"


def test_an_event_reaches_the_server_as_it_was_sent(sidecar: RunningSidecar, server: AnsweringServer):
    event = {"benchmark_status_event": {"id": "b", "status": "running"}}
    headers = {"X-Tenant": "red", "Authorization": "Bearer mine", "Content-Type": "application/json"}
    assert sidecar.call("POST", EVENTS, event, headers).status == 204
    (received,) = server.requests
    assert (received.method, received.path, received.document) == ("POST", EVENTS, event)
    assert received.header("X-Tenant") == ["red"]
    assert received.header("Authorization") == ["Bearer mine"]
    assert received.header("Content-Length") == [str(len(received.body))]
    assert received.header("Host") == [f"localhost:{server.port}"]


def test_an_event_for_a_jobs_own_callback_url_reaches_the_server(
    sidecar: RunningSidecar, server: AnsweringServer
):
    path = f"/callback/{'x' * 43}{EVENTS}"
    assert sidecar.call("POST", path, {}).status == 204
    assert server.requests[0].path == path
    for other in (f"/callback/x{EVENTS}/more", "/callback/x/api/v1/evaluations/jobs", f"/callback{EVENTS}"):
        assert sidecar.call("POST", other, {}).body["message_code"] == "no_route", other


def test_path_and_query_are_forwarded_unchanged(sidecar: RunningSidecar, server: AnsweringServer):
    path = "/api/v1/evaluations/collections/a%2Fb%20c?tags=x%7Cy&name=%C3%A4+b&empty="
    sidecar.call("GET", path)
    assert server.requests[0].path == path


def test_the_response_is_forwarded_unchanged(sidecar: RunningSidecar, server: AnsweringServer):
    headers = [
        ("Content-Type", "application/json"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Own", "x"),
    ]
    server.answer = lambda _: Reply(409, b'{"message_code": "job_can_not_be_updated"}', headers)
    connection = sidecar.connection()
    connection.request("POST", EVENTS, b"{}")
    answer = connection.getresponse()
    assert answer.status == 409
    assert answer.read() == b'{"message_code": "job_can_not_be_updated"}'
    assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers["X-Own"] == "x"
    connection.close()


def test_connection_headers_are_not_forwarded(sidecar: RunningSidecar, server: AnsweringServer):
    server.answer = lambda _: Reply(200, b"", {"Connection": "X-Hop", "X-Hop": "1", "X-End": "2"})
    answer = sidecar.call("GET", "/api/v1/evaluations/jobs", headers={"Connection": "X-Mine", "X-Mine": "1"})
    assert "x-hop" not in answer.headers
    assert answer.headers["x-end"] == "2"
    assert server.requests[0].header("X-Mine") == []


def test_a_transaction_id_is_created_once_and_forwarded(sidecar: RunningSidecar, server: AnsweringServer):
    answer = sidecar.call("POST", EVENTS, {})
    assert server.requests[0].header(TRANSACTION_ID) == [answer.headers[TRANSACTION_ID]]
    kept = sidecar.call("POST", EVENTS, {}, {TRANSACTION_ID: "mine"})
    assert kept.headers[TRANSACTION_ID] == "mine"
    assert server.requests[1].header(TRANSACTION_ID) == ["mine"]


def test_a_response_is_streamed(sidecar: RunningSidecar, server: AnsweringServer):
    more = threading.Event()

    def tokens() -> Iterator[bytes]:
        yield b"data: one\n\n"
        assert more.wait(30)
        yield b"data: two\n\n"

    server.answer = lambda _: Reply(200, tokens(), {"Content-Type": "text/event-stream"})
    connection = sidecar.connection()
    connection.request("GET", "/api/v1/evaluations/stream")
    answer = connection.getresponse()
    assert answer.readline() == b"data: one\n"
    more.set()
    assert answer.read() == b"\ndata: two\n\n"
    connection.close()


def test_a_request_is_streamed(sidecar: RunningSidecar, server: AnsweringServer):
    connection = sidecar.connection()
    connection.putrequest("PUT", "/api/v1/evaluations/upload")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b"5\r\nfirst\r\n")
    wait_until(lambda: server.arrived == [b"first"], "the first piece, before there is a second")
    connection.send(b"6\r\nsecond\r\n0\r\n\r\n")
    assert connection.getresponse().status == 204
    assert server.requests[0].body == b"firstsecond"
    connection.close()


def test_a_large_body_keeps_its_length(sidecar: RunningSidecar, server: AnsweringServer):
    body = bytes(range(256)) * 40_000
    server.answer = lambda received: Reply(200, received.body)
    connection = sidecar.connection()
    connection.request("PUT", "/api/v1/evaluations/upload", body)
    answer = connection.getresponse()
    assert answer.headers["Content-Length"] == str(len(body))
    assert answer.read() == body
    assert server.requests[0].header("Content-Length") == [str(len(body))]
    assert server.requests[0].header("Transfer-Encoding") == []
    connection.close()


def test_compressed_responses_stay_compressed(sidecar: RunningSidecar, server: AnsweringServer):
    packed = gzip.compress(b'{"a": 1}')
    server.answer = lambda _: Reply(200, packed, {"Content-Encoding": "gzip"})
    connection = sidecar.connection()
    connection.request("POST", EVENTS, packed, {"Content-Encoding": "gzip"})
    answer = connection.getresponse()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.read() == packed
    assert server.requests[0].body == packed
    connection.close()


def test_a_head_request_is_forwarded_as_one(sidecar: RunningSidecar, server: AnsweringServer):
    server.answer = lambda _: Reply(200, b"12345")
    answer = sidecar.call("HEAD", "/api/v1/evaluations/jobs")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "5", "")
    assert server.requests[0].method == "HEAD"


def test_redirects_are_not_followed(sidecar: RunningSidecar, server: AnsweringServer):
    server.answer = lambda _: Reply(307, b"", {"Location": "http://elsewhere.test/"})
    answer = sidecar.call("GET", "/api/v1/evaluations/jobs")
    assert (answer.status, answer.headers["location"]) == (307, "http://elsewhere.test/")
    assert len(server.requests) == 1


def test_an_incomplete_response_aborts_the_connection(sidecar: RunningSidecar, server: AnsweringServer):
    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise OSError

    server.answer = lambda _: Reply(200, breaks_off())
    connection = sidecar.connection()
    connection.request("GET", "/api/v1/evaluations/jobs")
    answer = connection.getresponse()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        answer.read()
    connection.close()


def test_the_upstream_request_of_a_disconnected_client_is_cancelled(
    sidecar: RunningSidecar, server: AnsweringServer
):
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 10_000

    server.answer = lambda _: Reply(200, endless())
    connection = sidecar.connection()
    connection.request("GET", "/api/v1/evaluations/jobs")
    connection.getresponse().read(10)
    assert connection.sock is not None
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    assert server.broken_off.wait(30)


def test_a_server_that_closes_the_connection_is_a_bad_gateway(
    sidecar: RunningSidecar, server: AnsweringServer
):
    server.answer = lambda _: None
    answer = sidecar.call("GET", "/api/v1/evaluations/jobs")
    assert answer.refusal == (502, "bad_gateway")
    assert answer.body["message"] == (
        "The sidecar could not get an answer from the EvalHub server: it hung up without an answer."
    )
    assert answer.body["detail"] == answer.body["message"]
    assert answer.body["trace"] == answer.headers[TRANSACTION_ID]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/evaluations/../health",
        "/model/..%2fjob-1/x",
        "/api/v1/evaluations/%2E%2e/x",
        "/a/./b",
        "/a\\..\\b",
    ],
)
def test_an_ambiguous_path_is_refused(sidecar: RunningSidecar, server: AnsweringServer, path: str):
    answer = sidecar.call("GET", path)
    assert answer.refusal == (400, "invalid_path")
    assert server.requests == []


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/health", "/api/2.0/mlflow/runs/create", "/v2/repo/blobs/uploads/"]
)
def test_a_path_without_a_route_is_a_bad_request(sidecar: RunningSidecar, server: AnsweringServer, path: str):
    answer = sidecar.call("GET", path)
    assert answer.refusal == (400, "no_route")
    assert server.requests == []


def test_an_unreachable_server_is_a_bad_gateway(tmp_path: Path):
    config = {"local_mode": True, "eval_hub": {"base_url": f"http://localhost:{free_port()}"}}
    with RunningSidecar(tmp_path, config) as sidecar:
        answer = sidecar.call("GET", "/api/v1/evaluations/jobs")
    assert answer.status == 502
    assert "the EvalHub server: Connection refused." in answer.body["message"]


@pytest.mark.parametrize("user", ["", "me:pw@"])
def test_clients_get_no_credentials_of_the_sidecar(tmp_path: Path, model: AnsweringServer, user: str):
    """The server may have a path prefix; the token of the configuration is for the sidecar's look-up of jobs."""
    job = {"model": {"url": model.url, "name": "m"}}
    own = "Basic bWU6cHc=" if user else "Bearer own"
    with AnsweringServer(lambda _: Reply(200, json.dumps(job).encode())) as server:
        base_url = server.url.replace("://", f"://{user}") + "/hub/"
        config = {"local_mode": True, "eval_hub": {"base_url": base_url, "token": "" if user else "own"}}
        with RunningSidecar(tmp_path, config) as sidecar:
            for method, path in [
                ("POST", EVENTS),
                ("POST", f"/callback/{'x' * 43}{EVENTS}"),
                ("GET", "/api/v1/evaluations/jobs"),
                ("DELETE", "/api/v1/evaluations/jobs/job-1?hard_delete=true"),
                ("POST", "/api/v1/evaluations/providers"),
            ]:
                for headers in ({}, {"Authorization": "Bearer of the client"}):
                    assert sidecar.call(method, path, None, headers).status == 200
                    received = server.requests[-1]
                    assert received.path == f"/hub{path}"
                    assert received.header("Authorization") == list(headers.values())
            assert sidecar.call("GET", "/model/job-1/v1/models").status == 200
    assert (server.requests[-1].path, server.requests[-1].header("Authorization")) == (
        "/hub/api/v1/evaluations/jobs/job-1",
        [own],
    )
    assert model.requests[-1].header("Authorization") == []


def test_neither_log_nor_errors_of_the_sidecar_have_callback_tokens(tmp_path: Path):
    token = "q7Zr-3XbT0aLk_9VwYdHs5MfPeJ2nUcGoB8iRtKx1Sy"
    with RunningSidecar(
        tmp_path, {"local_mode": True, "eval_hub": {"base_url": f"http://localhost:{free_port()}"}}
    ) as sidecar:
        for path, status in [
            (f"/callback/{token}{EVENTS}", 202),
            (f"//callback/{token}{EVENTS}", 400),
            (f"/callback/{token}/x", 400),
            (f"/callback%2F{token}%2Fx", 400),
            (f"/{token}/x", 400),
        ]:
            answer = sidecar.call("POST", path, {})
            assert answer.status == status
            assert token not in json.dumps(answer.body)
        assert sidecar.call("GET", f"/callback/{token}{EVENTS}").status == 502
        sidecar.terminate()
        log = sidecar.log_text()
    assert token not in log
    assert f"/callback/[redacted]{EVENTS}" in log
