"""Collections over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contract.resources import Resources, as_tenant
from harness import Config, RunningServer
from harness.server import API

COLLECTIONS = f"{API}/collections"
MEMBER = {"id": "b", "provider_id": "scripted"}
resources = Resources(COLLECTIONS, {"name": "c", "category": "x", "benchmarks": [MEMBER]})
config_of, create, one, names = resources.config_of, resources.create, resources.one, resources.names


def configured(folder: Path) -> Config:
    config = Config(folder)
    config.provider(
        "sleep 60 # until the test ends it", "b", benchmark={"url": "http://b", "domains": ["law"]}
    )
    config.write(
        "collections/from-a-file.yaml",
        {
            "id": "from-a-file",
            "name": "F",
            "category": "c",
            "benchmarks": [{**MEMBER, "parameters": {"CamelKey": 1}}],
        },
    )
    return config


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(configured(tmp_path_factory.mktemp("collections")).folder) as running:
        yield running


def test_a_created_collection_shows_data_of_its_providers(server: RunningServer):
    created = create(server, benchmarks=[{**MEMBER, "url": "http://ignored"}])
    assert created["benchmarks"] == [{**MEMBER, "url": "http://b"}]
    assert created["domains"] == ["law"]
    assert "status" not in created
    assert server.get(one(created)) == created


def test_members_need_not_exist_until_a_job_runs_them(server: RunningServer):
    created = create(server, benchmarks=[{"id": "x", "provider_id": "nobody"}])
    assert "url" not in created["benchmarks"][0]
    answer = server.call("POST", f"{API}/jobs", job_over(created))
    assert answer.refusal == (404, "resource_not_found")
    assert any("refers to an unknown benchmark" in line["msg"] for line in server.log_lines())


def job_over(collection: dict[str, Any]) -> dict[str, Any]:
    model = {"url": "http://m", "name": "m"}
    return {"name": "j", "model": model, "collection": {"id": collection["resource"]["id"]}}


def test_derived_fields_of_a_collection_follow_its_providers(server: RunningServer):
    provider = server.call(
        "POST",
        f"{API}/providers",
        {"name": "p", "benchmarks": [{"id": "b", "tasks": ["qa"], "url": "http://1"}]},
    ).body["resource"]["id"]
    path = one(create(server, name="follows", benchmarks=[{"id": "b", "provider_id": provider}]))
    assert names(server, "tasks=qa") == ["follows"]
    changes = [
        {"op": "replace", "path": "/benchmarks/0/tasks", "value": ["sum", "gen"]},
        {"op": "replace", "path": "/benchmarks/0/url", "value": "http://2"},
    ]
    assert server.call("PATCH", f"{API}/providers/{provider}", changes).status == 200
    assert names(server, "tasks=qa") == []
    assert names(server, "tasks=gen,sum") == ["follows"]
    assert server.get(path)["tasks"] == ["gen", "sum"]
    assert server.get(path)["benchmarks"][0]["url"] == "http://2"
    assert server.call("DELETE", f"{API}/providers/{provider}").status == 204
    assert names(server, "tasks=gen") == []
    assert "url" not in server.get(path)["benchmarks"][0]


def test_replacing_keeps_the_pin_and_the_origin(server: RunningServer):
    source = create(server)
    clone = server.call("POST", f"{one(source)}/clones").body
    assert (
        server.call("PATCH", one(clone), [{"op": "add", "path": "/pinned_order", "value": 3}]).status == 200
    )
    answer = server.call("PUT", one(clone), config_of(name="new", description="d"))
    assert (answer.status, answer.body["name"], answer.body["pinned_order"]) == (200, "new", 3)
    assert answer.body["derived_from"] == source["resource"]["id"]
    assert server.get(one(clone)) == answer.body


def test_a_patch_is_validated_as_a_whole(server: RunningServer):
    created = create(server)
    good = [
        {"op": "replace", "path": "/benchmarks/0/weight", "value": 2},
        {"op": "add", "path": "/custom", "value": {"A": 1}},
    ]
    patched = server.call("PATCH", one(created), good).body
    assert (patched["benchmarks"][0]["weight"], patched["custom"]) == (2.0, {"A": 1})
    bad = [
        ([{"op": "replace", "path": "/benchmarks", "value": []}], "request_validation_failed"),
        ([{"op": "replace", "path": "/benchmarks/0/weight", "value": -1}], "request_validation_failed"),
        ([{"op": "add", "path": "/pass_criteria", "value": {}}], "request_validation_failed"),
        ([{"op": "replace", "path": "/benchmarks/9", "value": MEMBER}], "invalid_json_request"),
        ([{"op": "replace", "path": "/name", "value": 7}], "invalid_json_request"),
        ([{"op": "replace", "path": "/pinned_order", "value": -1}], "request_validation_failed"),
        ([{"op": "replace", "path": "/agent", "value": {}}], "unallowed_patch"),
        ([{"op": "add", "path": "/name", "value": "n"}], "unallowed_patch"),
        ({"name": None}, "unallowed_patch"),
    ]  # fmt: skip
    for body, code in bad:
        assert server.call("PATCH", one(created), body).refusal == (400, code), body
    assert server.get(one(created)) == patched


def test_a_curated_collection_can_only_be_cloned_and_deleted(server: RunningServer):
    curated = create(server, curation_order=2)
    for method, body in (("PUT", config_of()), ("PATCH", []), ("PATCH", {"pinned_order": 1})):
        assert server.call(method, one(curated), body).refusal == (400, "read_only_collection")
    clone = server.call("POST", f"{one(curated)}/clones", {"curation_order": 9, "name": "mine"})
    assert clone.status == 201
    assert "curation_order" not in clone.body
    assert server.call("DELETE", one(curated)).status == 204


def test_a_collection_from_a_file_can_be_cloned_but_not_changed(server: RunningServer):
    path = f"{COLLECTIONS}/from-a-file"
    assert server.get(path)["benchmarks"][0]["parameters"] == {"CamelKey": 1}
    for method, body in (("PUT", config_of()), ("PATCH", []), ("DELETE", None)):
        assert server.call(method, path, body).refusal == (400, "read_only_collection")
    clone = server.call("POST", f"{path}/clones", b"")
    assert (clone.status, clone.body["derived_from"], clone.body["status"]) == (201, "from-a-file", {})
    assert "owner" not in clone.body["resource"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"nope": 1}, 400, "invalid_json_request"),
        ({"pinned_order": 1}, 400, "invalid_json_request"),
        ({"benchmarks": [{"id": "b", "provider_id": "p", "nope": 1}]}, 400, "invalid_json_request"),
        ({"category": "x" * 129}, 400, "request_validation_failed"),
    ],
)
def test_an_invalid_override_creates_no_clone(server: RunningServer, body: Any, status: int, code: str):
    before = server.get(COLLECTIONS)["total_count"]
    assert server.call("POST", f"{COLLECTIONS}/from-a-file/clones", body).refusal == (status, code)
    assert server.get(COLLECTIONS)["total_count"] == before


def test_operations_on_a_missing_collection_are_404(server: RunningServer):
    path = f"{COLLECTIONS}/nobody"
    for method, body in (("GET", None), ("PUT", config_of()), ("PATCH", []), ("DELETE", None)):
        assert server.call(method, path, body).refusal == (404, "resource_not_found")
    for body in ({}, {"nope": 1}, b"{"):
        assert server.call("POST", f"{path}/clones", body).refusal == (404, "resource_not_found")
    assert server.call("GET", f"{COLLECTIONS}/").status == 404


def test_a_tenants_collection_is_invisible_to_others(server: RunningServer):
    collection = create(server, tenant="t1", name="secret")
    other = as_tenant("t2")
    for method, path, body in (
        ("GET", one(collection), None),
        ("PUT", one(collection), config_of()),
        ("PATCH", one(collection), []),
        ("DELETE", one(collection), None),
        ("POST", f"{one(collection)}/clones", {}),
        ("POST", f"{API}/jobs", job_over(collection)),
    ):
        assert server.call(method, path, body, other).refusal == (404, "resource_not_found"), (method, path)
    assert "secret" in names(server, tenant="t1")
    assert "secret" not in names(server, tenant="t2")


def test_urls_come_only_from_providers_that_the_reader_can_see(server: RunningServer):
    body = {"name": "p", "benchmarks": [{"id": "b", "url": "http://secret", "domains": ["hidden"]}]}
    provider = server.call("POST", f"{API}/providers", body, as_tenant("v1")).body["resource"]["id"]
    member = {"id": "b", "provider_id": provider}
    assert create(server, tenant="v1", benchmarks=[member])["benchmarks"][0]["url"] == "http://secret"
    foreign = create(server, tenant="v2", benchmarks=[member])
    assert "url" not in foreign["benchmarks"][0]
    assert "domains" not in foreign


def test_lists_filter_and_sort(server: RunningServer):
    create(server, tenant="lists", name="b", category="one", industries=["steel"])
    create(server, tenant="lists", name="c", category="two", curation_order=2)
    create(server, tenant="lists", name="a", category="two", curation_order=1)
    mine = "scope=tenant&"
    assert names(server, mine, "lists") == ["a", "c", "b"]
    assert names(server, f"{mine}sort_by=created_at", "lists") == ["b", "c", "a"]
    assert names(server, f"{mine}sort_by=name", "lists") == ["a", "b", "c"]
    assert names(server, f"{mine}sort_by=-name", "lists") == ["c", "b", "a"]
    assert names(server, f"{mine}sort_by=curation_order", "lists") == ["a", "c", "b"]
    assert names(server, f"{mine}category=two", "lists") == ["a", "c"]
    assert names(server, f"{mine}industries=steel", "lists") == ["b"]
    assert names(server, f"{mine}domains=law", "lists") == ["a", "c", "b"]
    assert server.call("GET", f"{COLLECTIONS}?sort_by=size").refusal == (
        400,
        "query_parameter_value_invalid",
    )
    assert server.call("GET", f"{COLLECTIONS}?benchmarks=true").refusal == (400, "query_bad_parameter")


def test_a_job_keeps_the_settings_of_its_collection_and_counts_as_its_run(server: RunningServer):
    collection = create(server, benchmarks=[MEMBER, {**MEMBER, "parameters": {"k": 1}}])
    answers = [server.call("POST", f"{API}/jobs", job_over(collection)) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202]
    assert server.get(one(collection))["status"] == {"run_count": 2}
    assert server.get(one(collection))["resource"] == collection["resource"]
    job = answers[0].body
    assert job["collection"]["collection_updated_at"] == collection["resource"]["updated_at"]
    assert server.call("DELETE", one(collection)).status == 204
    for index in (0, 1):
        assert server.report(job["resource"]["id"], "completed", index=index).status == 204
    assert server.job(job["resource"]["id"])["status"]["state"] == "completed"


def test_concurrent_patches_are_all_applied(server: RunningServer):
    path = one(create(server, custom={}))

    def patch(number: int) -> int:
        body = [{"op": "add", "path": f"/custom/k{number}", "value": number}]
        return server.call("PATCH", path, body).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(patch, range(40))) == {200}
    assert server.get(path)["custom"] == {f"k{number}": number for number in range(40)}


def test_collections_of_clients_and_run_counts_survive_a_restart(tmp_path: Path):
    config = configured(tmp_path)
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        mine = create(server)
        system = server.get(f"{COLLECTIONS}/from-a-file")
        job = server.call("POST", f"{API}/jobs", job_over(system)).body
        assert server.call("DELETE", f"{API}/jobs/{job['resource']['id']}").status == 204
        before = [server.get(path) for path in (one(mine), f"{COLLECTIONS}/from-a-file")]
        assert before[1]["status"] == {"run_count": 1}
        server.terminate()
        server.start()
        assert [server.get(path) for path in (one(mine), f"{COLLECTIONS}/from-a-file")] == before
