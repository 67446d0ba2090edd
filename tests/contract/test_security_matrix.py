"""All combinations of host, origin and method: what a web page can do to a server on its visitor's computer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.raw import raw_request
from harness.server import API, Answer, job_request

HOSTS = {
    "localhost:{port}": True,
    "127.0.0.1": True,
    "[::1]:{port}": True,
    "box.example.org:1": True,  # configured
    "rebound.evil.example:{port}": False,
    "192.168.1.5:{port}": False,
    "localhost.evil.example": False,
}
ORIGINS = {
    "": None,
    "http://localhost:3000": True,
    "https://127.0.0.1": True,
    "https://ui.example.org": True,  # configured
    "https://evil.example": False,
    "http://localhost.evil.example:3000": False,
    "null": False,
}
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
# What a page may send without a preflight, and what it may not.
CONTENT_TYPES = ["", "text/plain", "application/x-www-form-urlencoded", "application/json"]
JOB = job_request()
PROVIDER = {"name": "p", "runtime": {"local": {"command": "id"}}, "benchmarks": [{"id": "b"}]}
EVENT = {
    "benchmark_status_event": {
        "provider_id": "scripted",
        "id": "b",
        "benchmark_index": 0,
        "status": "failed",
        "error_message": {"message": "m", "message_code": "c"},
    }
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    service = {"allowed_hosts": ["Box.example.org"], "allowed_origins": ["https://ui.example.org/"]}
    config = Config(tmp_path_factory.mktemp("matrix"), service=service, local={"max_parallel": 1})
    config.provider("sleep 600 # waits for the test's own events")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def job_id(server: RunningServer) -> str:
    return server.submit()


def test_host_and_origin_are_checked_for_every_method_content_type_and_path(
    subtests: pytest.Subtests, server: RunningServer, job_id: str
):
    for host, origin, method in product(HOSTS, ORIGINS, METHODS):
        with subtests.test(host=host, origin=origin, method=method):
            check_answers(server, host, origin, method)


def check_answers(server: RunningServer, host: str, origin: str, method: str) -> None:
    fields = [f"Host: {host.format(port=server.port)}"]
    fields += [f"Origin: {origin}"] if origin else []
    writes = method not in ("GET", "HEAD", "OPTIONS")
    jobs = (f"{API}/jobs", {**JOB, "name": ""})
    others: list[tuple[str, dict[str, Any]]] = [
        ("/api/v1/health", {}),
        (f"{API}/jobs/no-such-job", {}),
        (f"{API}/jobs/no-such-job/events", EVENT),
        (f"{API}/providers", {**PROVIDER, "name": ""}),
        (f"{API}/collections/no-such-collection", {}),
        ("/nowhere", {}),
    ]
    for content_type in CONTENT_TYPES if writes else [""]:
        typed = [*fields, f"Content-Type: {content_type}"] if content_type else fields
        # Every type on one path, and every path without a type, as a form of a web page could send it.
        for path, body in [jobs] if content_type else [jobs, *others]:
            answer = raw_request(
                server.port, method, path, *typed, body=json.dumps(body).encode() if writes else b""
            )
            seen = (path, content_type, answer)
            if not HOSTS[host]:
                assert code(answer) in ((403, "host_not_allowed"), (403, None)), seen
                assert cors(answer) == {}, seen
            elif writes and ORIGINS[origin] is False:
                assert code(answer) == (403, "origin_not_allowed"), seen
                assert cors(answer) == {}, seen
            else:
                assert answer.status != 403, seen
                assert (answer.status == 204) is (method == "OPTIONS"), seen
                allowed = cors(answer)
                allowed_origin = origin if ORIGINS[origin] else None
                assert allowed.get("access-control-allow-origin") == allowed_origin, seen
                assert bool(allowed) is bool(ORIGINS[origin]), seen
                assert ("access-control-max-age" in allowed) is (bool(allowed) and method == "OPTIONS"), seen
                assert answer.headers["vary"] == "Origin", seen
            assert "*" not in "".join(cors(answer).values()), seen


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("rebound.evil.example", ""),
        ("rebound.evil.example", "http://rebound.evil.example"),
        ("localhost", "https://evil.example"),
        ("localhost", "null"),
    ],
)
def test_a_refused_request_changes_nothing(
    server: RunningServer, job_id: str, host: str, origin: str, content_type: str
):
    def attack(method: str, path: str, body: object = None) -> int:
        fields = [f"Host: {host}:{server.port}", f"Content-Type: {content_type}"]
        fields += [f"Origin: {origin}"] if origin else []
        data = json.dumps(body).encode() if body else b""
        return raw_request(server.port, method, path, *fields, body=data).status

    def everything() -> object:
        lists = [server.get(f"{API}/{kind}") for kind in ("jobs", "providers", "collections")]
        return lists, server.job(job_id), server.logs(job_id)

    server.in_state(job_id, "pending")
    before = everything()
    assert attack("POST", f"{API}/providers", PROVIDER) == 403
    assert attack("POST", f"{API}/jobs", JOB) == 403
    assert attack("POST", f"{API}/jobs/{job_id}/events", EVENT) == 403
    assert attack("DELETE", f"{API}/jobs/{job_id}") == 403
    assert attack("DELETE", f"{API}/jobs/{job_id}?hard_delete=true") == 403
    assert everything() == before


def code(answer: Answer) -> tuple[int, str | None]:
    return answer.status, answer.body["message_code"] if answer.body else None


def cors(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}
