"""Tenants over HTTP: every route, with and without valid identity headers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.raw import raw_request
from harness.server import API, job_request

REQUEST = job_request()
EVENT = {
    "benchmark_status_event": {
        "provider_id": "scripted",
        "id": "b",
        "benchmark_index": 0,
        "status": "running",
    }
}
# (method, path, body, status for the owner). The last two end the job.
ROUTES: list[tuple[str, str, Any, int]] = [
    ("GET", "{job}", None, 200),
    ("POST", "{job}/events", EVENT, 204),
    ("GET", "{job}/logs", None, 200),
    ("GET", "{job}/benchmarks/0/logs", None, 200),
    ("DELETE", "{job}", None, 204),
    ("DELETE", "{job}?hard_delete=true", None, 204),
]
OTHERS: list[tuple[str, str, Any, int]] = [
    ("GET", f"{API}/jobs", None, 200),
    ("POST", f"{API}/jobs", REQUEST, 202),
    ("GET", f"{API}/providers", None, 200),
    ("GET", f"{API}/providers/scripted", None, 200),
    ("POST", f"{API}/providers", {"name": "p", "benchmarks": []}, 201),
    ("PUT", f"{API}/providers/scripted", {"name": "p"}, 400),
    ("PATCH", f"{API}/providers/scripted", {"name": "p"}, 400),
    ("DELETE", f"{API}/providers/no-such", None, 404),
    ("GET", f"{API}/collections", None, 200),
    ("GET", f"{API}/collections/no-such", None, 404),
    ("POST", f"{API}/collections/no-such/clones", None, 404),
    ("PUT", f"{API}/jobs", None, 405),
    ("PATCH", f"{API}/jobs/x", None, 405),
]


def serve(folder: Config, *flags: str) -> Iterator[RunningServer]:
    folder.provider("sleep 600 # waits for the test's own events")
    with RunningServer(folder.folder, flags=(*flags, "--configdir", str(folder.folder))) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    yield from serve(Config(tmp_path_factory.mktemp("cluster"), plugins={"runtime": "local"}))


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    yield from serve(Config(tmp_path_factory.mktemp("local")), "--local")


def named(tenant: str, user: str = "u") -> dict[str, str]:
    return {"X-Tenant": tenant, "X-User": user} if tenant else {}


def created(server: RunningServer, tenant: str) -> str:
    answer = server.call("POST", f"{API}/jobs", REQUEST, named(tenant))
    assert answer.status == 202
    assert answer.body["resource"].get("tenant", "") == tenant
    return f"{API}/jobs/{answer.body['resource']['id']}"


def seen(server: RunningServer, tenant: str) -> set[str]:
    page = server.call("GET", f"{API}/jobs?limit=1000", None, named(tenant)).body
    return {f"{API}/jobs/{item['resource']['id']}" for item in page["items"]}


@pytest.mark.parametrize("asking", ["team-a", "team-b"])
@pytest.mark.parametrize("mode", ["cluster", "local"])
def test_every_route_of_a_job_exists_for_its_tenant_only(
    request: pytest.FixtureRequest, mode: str, asking: str
):
    server: RunningServer = request.getfixturevalue(mode)
    job = created(server, "team-a")
    mine = asking == "team-a"
    assert (job in seen(server, asking)) is mine
    for method, path, body, status in ROUTES:
        answer = server.call(method, path.format(job=job), body, named(asking, "another user of the tenant"))
        assert answer.status == (status if mine else 404), (method, path)
    still_there = server.call("GET", job, None, named("team-a"))
    assert still_there.status == (404 if mine else 200)
    if not mine:
        assert still_there.body["status"]["state"] == "pending"


def test_local_mode_without_a_tenant_sees_every_job(local: RunningServer):
    job, untenanted = created(local, "team-a"), created(local, "")
    assert {job, untenanted} <= seen(local, "")
    assert untenanted not in seen(local, "team-a")
    for method, path, body, status in ROUTES:
        assert local.call(method, path.format(job=job), body).status == status, (method, path)


# Header lines that do not identify a client, and the code of the refusal.
UNIDENTIFIED: list[tuple[tuple[str, ...], str]] = [
    ((), "missing_tenant_header"),
    (("X-User: u",), "missing_tenant_header"),
    (("X-Tenant:", "X-User: u"), "missing_tenant_header"),
    (("X-Tenant: t",), "missing_user_header"),
    (("X-Tenant: t", "X-User:  "), "missing_user_header"),
    (("X-Tenant: t", "X-User: system"), "invalid_header"),
    (("X-Tenant: t", "X-Tenant: t", "X-User: u"), "invalid_header"),
    (("X-Tenant: t", "X-User: u", "x-user: u"), "invalid_header"),
    (("X-Tenant: a,b", "X-User: u"), "invalid_header"),
    (("X-Tenant: Team", "X-User: u"), "invalid_header"),
    (("X-Tenant: t", "X-User: \xe9"), "invalid_header"),
    (("X-Tenant: t", "X-User: a\tb"), "invalid_header"),
    (("X-Tenant: t", f"X-User: {'u' * 254}"), "invalid_header"),
]


def test_a_cluster_refuses_every_route_without_valid_identity_headers(
    subtests: pytest.Subtests, cluster: RunningServer
):
    routes = [(method, path.format(job=f"{API}/jobs/x")) for method, path, *_ in ROUTES + OTHERS]
    for (method, path), (fields, code) in product(routes, UNIDENTIFIED):
        with subtests.test(method=method, path=path, fields=fields):
            assert raw_request(cluster.port, method, path, *fields).refusal == (400, code)


def test_a_cluster_serves_every_route_with_valid_identity_headers(cluster: RunningServer):
    for method, path, body, status in OTHERS:
        assert cluster.call(method, path, body, named("team-c")).status == status, (method, path)


@pytest.mark.parametrize(
    "path",
    [
        "//api/v1/evaluations/jobs",
        "/api/v1//evaluations/jobs",
        "/api/v1/x/../evaluations/jobs",
        "/api/v1/evaluations%2Fjobs",
        "/api/v1/%65valuations/jobs",
        "/api/v1/evaluations/jobs/",
        "/api/v1/evaluations/../evaluations/jobs",
        "/API/v1/evaluations/jobs",
        "/api/v1/evaluations;x/jobs",
    ],
)
def test_no_spelling_of_a_path_bypasses_the_identity(cluster: RunningServer, path: str):
    assert raw_request(cluster.port, "GET", path).status in (307, 400, 404)


def test_other_paths_need_no_identity(cluster: RunningServer):
    assert raw_request(cluster.port, "GET", "/api/v1/health").status == 200
    assert raw_request(cluster.port, "GET", "/api/v1/health", "X-User: system").status == 200
    assert raw_request(cluster.port, "GET", "/nowhere").status == 404
