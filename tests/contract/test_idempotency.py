"""Requests for jobs that are repeated with an ``Idempotency-Key``."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.running import Answer
from harness.server import API, job_request


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("idempotency") / "config")
    config.provider("exit 3", "b")
    with RunningServer(config.folder) as running:
        yield running


def create(server: RunningServer, key: str, body: Any = None, tenant: str = "") -> Answer:
    headers = {"Idempotency-Key": key} | ({"X-Tenant": tenant} if tenant else {})
    return server.call("POST", f"{API}/jobs", job_request() if body is None else body, headers)


def job_id(answer: Answer) -> str:
    assert answer.status == 202, answer
    return answer.body["resource"]["id"]


def test_the_same_request_gives_the_same_job(server: RunningServer):
    first = job_id(create(server, "k1"))
    server.finished(first)
    again = create(server, "k1")
    assert job_id(again) == first
    assert again.body["status"]["state"] == "failed"
    reordered = json.dumps(dict(reversed(job_request().items())), indent=2).encode()
    assert job_id(create(server, "k1", reordered)) == first
    assert job_id(create(server, "k2")) != first
    assert server.submit("b") != first


def test_another_request_is_refused(server: RunningServer):
    first = job_id(create(server, "k3"))
    answer = create(server, "k3", job_request(name="another"))
    assert answer.refusal == (422, "idempotency_key_reused")
    assert first in answer.body["message"]
    assert answer.body["errors"][0]["path"] == "Idempotency-Key"


def test_a_refused_request_does_not_use_the_key(server: RunningServer):
    assert create(server, "k4", job_request("no-such")).status == 400
    job_id(create(server, "k4"))


def test_keys_of_tenants_are_independent(server: RunningServer):
    ids = {job_id(create(server, "k5", job_request(name=t), tenant=t)) for t in ("team-a", "team-b")}
    assert len(ids) == 2


def test_a_key_of_a_deleted_job_creates_another(server: RunningServer):
    first = job_id(create(server, "k6"))
    server.call("DELETE", f"{API}/jobs/{first}?hard_delete=true")
    assert server.call("GET", f"{API}/jobs/{first}").status == 404
    server.job(job_id(create(server, "k6")))


def test_simultaneous_requests_create_one_job(server: RunningServer):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: create(server, "k7", job_request(name="raced")), range(16)))
    assert len({job_id(answer) for answer in answers}) == 1
    assert server.get(f"{API}/jobs?name=raced")["total_count"] == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
def test_a_malformed_key_is_refused(server: RunningServer, key: str):
    before = server.get(f"{API}/jobs")["total_count"]
    answer = create(server, key.encode().decode("latin-1"))
    assert answer.refusal == (400, "invalid_header")
    assert answer.body["errors"][0]["path"] == "Idempotency-Key"
    assert server.get(f"{API}/jobs")["total_count"] == before


def test_two_keys_are_refused(server: RunningServer):
    body = json.dumps(job_request()).encode()
    head = (
        f"POST {API}/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    head += "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head.encode() + body)
        assert b" 400 " in connection.recv(100)
