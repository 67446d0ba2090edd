"""Providers over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from contract.resources import Resources, as_tenant
from harness import Config, RunningServer
from harness.server import API, job_request

PROVIDERS = f"{API}/providers"
COMMAND = {"local": {"command": "true", "env": [{"name": "A", "value": "1"}]}}
resources = Resources(PROVIDERS, {"name": "p", "benchmarks": [{"id": "b"}]})
config_of, create, one, names = resources.config_of, resources.create, resources.one, resources.names


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("providers"))
    config.provider("exit 1", "b", provider_id="from-a-file")
    with RunningServer(config.folder) as running:
        yield running


def test_get_returns_a_created_provider(server: RunningServer):
    answer = server.call(
        "POST", PROVIDERS, config_of(title="T", runtime=COMMAND, custom={"Key": None}), as_tenant("t0", "ada")
    )
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    info = answer.body["resource"]
    assert (info["tenant"], info["owner"]) == ("t0", "ada")
    assert info["created_at"] == info["updated_at"]
    assert answer.body["runtime"] == COMMAND
    assert answer.body["custom"] == {"Key": None}
    assert answer.body["benchmarks"] == [
        {"id": "b", "name": "", "category": "", "num_few_shot": 0, "dataset_size": 0}
    ]
    assert server.get(one(answer.body)) == answer.body


def test_replace_keeps_only_the_identity(server: RunningServer):
    old = create(server, title="T", tags=["x"])
    answer = server.call("PUT", one(old), config_of(name="new"))
    assert answer.status == 200
    assert answer.body["name"] == "new"
    assert "tags" not in answer.body
    assert answer.body["resource"]["created_at"] == old["resource"]["created_at"]
    assert answer.body["resource"]["updated_at"] > old["resource"]["updated_at"]
    assert server.get(one(old)) == answer.body


def test_a_patch_is_a_list_of_operations_or_an_object_to_merge(server: RunningServer):
    provider = create(server, runtime=COMMAND, tags=["a"])
    operations = [
        {"op": "add", "path": "/tags/-", "value": "b"},
        {"op": "replace", "path": "/runtime/local/Command", "value": "false"},
    ]
    answer = server.call("PATCH", one(provider), operations)
    assert (answer.status, answer.body["tags"]) == (200, ["a", "b"])
    assert answer.body["runtime"]["local"]["command"] == "false"
    merged = server.call("PATCH", one(provider), {"description": "d", "tags": None})
    assert (merged.status, merged.body["description"]) == (200, "d")
    assert "tags" not in merged.body
    assert server.get(one(provider)) == merged.body


def test_a_deleted_provider_is_404(server: RunningServer):
    provider = create(server)
    answer = server.call("DELETE", f"{one(provider)}?hard_delete=whatever")
    assert (answer.status, answer.body) == (204, "")
    assert answer.headers["content-type"] == "application/json"
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        body = {"PUT": config_of(), "PATCH": []}.get(method)
        assert server.call(method, one(provider), body).refusal == (404, "resource_not_found")


@pytest.mark.parametrize(
    ("method", "body", "status", "code"),
    [
        ("POST", {}, 400, "request_validation_failed"),
        ("POST", b"", 400, "invalid_json_request"),
        ("POST", {"name": 1}, 400, "invalid_json_request"),
        (
            "POST",
            {"name": "p", "benchmarks": [{"id": "b", "dataset_size": 2**63}]},
            400,
            "invalid_json_request",
        ),
        ("POST", {"name": "p", "benchmarks": [{"name": "no id"}]}, 400, "request_validation_failed"),
        ("POST", {"name": "p", "tags": ["a,b"]}, 400, "request_validation_failed"),
        (
            "POST",
            {"name": "p", "runtime": {"k8s": {"image_pull_policy": "x"}}},
            400,
            "request_validation_failed",
        ),
        ("PUT", {}, 400, "request_validation_failed"),
        ("PATCH", [{"op": "move", "path": "/name"}], 400, "invalid_patch_operation"),
        ("PATCH", [{"op": "remove", "path": "/name"}], 400, "unallowed_patch"),
        ("PATCH", {"resource": {}}, 400, "unallowed_patch"),
        ("PATCH", [{"op": "replace", "path": "/name", "value": ""}], 400, "request_validation_failed"),
        ("PATCH", [{"op": "remove", "path": "/tags/7"}], 400, "invalid_json_request"),
        ("PATCH", 5, 400, "invalid_json_request"),
        ("POST", b'{"name": "' + b"x" * (10 * 1024 * 1024) + b'"}', 413, "request_body_too_large"),
    ],
)
def test_invalid_requests_are_refused_and_change_nothing(
    server: RunningServer, method: str, body: Any, status: int, code: str
):
    provider = create(server)
    before = names(server)
    path = PROVIDERS if method == "POST" else one(provider)
    assert server.call(method, path, body).refusal == (status, code)
    assert server.get(one(provider)) == provider
    assert names(server) == before


def test_a_provider_from_a_file_is_read_only_and_an_invalid_body_is_reported_first(server: RunningServer):
    path = f"{PROVIDERS}/from-a-file"
    assert server.get(path)["resource"]["owner"] == "system"
    assert server.call("PUT", path, {}).refusal == (400, "request_validation_failed")
    for method, body in (("PUT", config_of()), ("PATCH", []), ("PATCH", {"title": "t"}), ("DELETE", None)):
        assert server.call(method, path, body).refusal == (400, "read_only_provider")


def test_a_tenants_provider_is_invisible_to_others(server: RunningServer):
    provider = create(server, tenant="t1", name="secret")
    other = as_tenant("t2")
    for method, body in (("GET", None), ("PUT", config_of()), ("PATCH", []), ("DELETE", None)):
        assert server.call(method, one(provider), body, other).refusal == (404, "resource_not_found")
    assert "secret" in names(server, tenant="t1")
    assert "secret" not in names(server, tenant="t2")
    assert "from-a-file" in names(server, tenant="t2")
    job = job_request(provider=provider["resource"]["id"])
    assert server.call("POST", f"{API}/jobs", job, other).refusal == (404, "resource_not_found")
    assert server.call("GET", one(provider)).status == 200  # without a tenant, local mode shows everything


def test_lists_filter_and_page(server: RunningServer):
    for name in ("l1", "l2", "l3"):
        create(server, tenant="lists", name=name, tags=["even" if name == "l2" else "odd", "l"])
    assert names(server, "scope=tenant", "lists") == ["l3", "l2", "l1"]
    assert names(server, "scope=system", "lists") == ["from-a-file"]
    assert names(server, "tags=odd,l", "lists") == ["l3", "l1"]
    assert names(server, "name=l1%7Cl2", "lists") == ["l2", "l1"]
    assert names(server, "owner=!system", "lists") == ["l3", "l2", "l1"]
    page = server.call("GET", f"{PROVIDERS}?scope=tenant&limit=2", headers=as_tenant("lists")).body
    assert (page["total_count"], len(page["items"])) == (3, 2)
    rest = server.call("GET", page["next"]["href"], headers=as_tenant("lists")).body
    assert [item["name"] for item in rest["items"]] == ["l1"]
    assert "next" not in rest


def test_a_list_has_the_systems_providers_before_the_tenants(server: RunningServer):
    create(server, tenant="order", name="newer than the file")
    page = server.call("GET", PROVIDERS, headers=as_tenant("order")).body
    assert [item["name"] for item in page["items"]] == ["from-a-file", "newer than the file"]


def test_a_list_without_benchmarks_has_empty_ones(server: RunningServer):
    create(server, tenant="bare")
    for query, benchmarks in (("benchmarks=false", 0), ("benchmarks=T", 1)):
        page = server.call("GET", f"{PROVIDERS}?scope=tenant&{query}", headers=as_tenant("bare")).body
        assert len(page["items"][0]["benchmarks"]) == benchmarks


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("scope=both", "query_parameter_value_invalid"),
        ("scope=system&owner=x", "query_parameter_mismatch"),
        ("benchmarks=maybe", "query_parameter_invalid"),
        ("limit=-1&nope=1", "query_parameter_invalid"),
        ("sort_by=name", "query_bad_parameter"),
    ],
)
def test_invalid_parameters_are_reported_by_name(server: RunningServer, query: str, code: str):
    assert server.call("GET", f"{PROVIDERS}?{query}").refusal == (400, code)


def test_a_job_runs_a_clients_provider_and_outlives_it(server: RunningServer):
    runtime = {"local": {"command": "sleep 60 # until the test ends it"}}
    provider_id = create(server, runtime=runtime)["resource"]["id"]
    job_id = server.submit("b", provider=provider_id)
    assert server.call("DELETE", f"{PROVIDERS}/{provider_id}").status == 204
    event = {"provider_id": provider_id, "id": "b", "benchmark_index": 0, "status": "completed"}
    answer = server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})
    assert answer.status == 204
    assert server.job(job_id)["status"]["state"] == "completed"
