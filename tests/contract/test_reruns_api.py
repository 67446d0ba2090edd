"""Reruns over HTTP: a new job that repeats benchmarks of another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.running import Answer
from harness.server import API

TENANT = {"X-Tenant": "team-a"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    config = Config(tmp_path_factory.mktemp("reruns") / "config", local={"max_parallel": 500})
    config.provider("sleep 600 # waits for the test's own events", "a", "b", "c")
    return config


@pytest.fixture(scope="module")
def server(config: Config) -> Iterator[RunningServer]:
    with RunningServer(config.folder, data_dir=config.folder / "data") as running:
        yield running


def ended(server: RunningServer, states: str, **fields: Any) -> str:
    """The id of a job over a, b, … with these outcomes: ``c`` completed, ``f`` failed."""
    names = "abc"[: len(states)]
    job_id = server.submit(*names, **fields)
    finish(server, job_id, states, names)
    return job_id


def finish(server: RunningServer, job_id: str, states: str, names: str) -> None:
    for index, (state, name) in enumerate(zip(states, names, strict=True)):
        content: dict[str, Any] = {"metrics": {"acc": 0.5}} if state == "c" else {}
        status = {"c": "completed", "f": "failed"}[state]
        assert server.report(job_id, status, index=index, benchmark=name, **content).status == 204
    server.finished(job_id)


def rerun(server: RunningServer, job_id: str, only: Any, **headers: str) -> Answer:
    return server.call("POST", f"{API}/jobs/{job_id}/reruns", {"only": only}, headers)


def test_a_rerun_repeats_only_what_failed(server: RunningServer):
    original = ended(server, "cfc", tags=["x"])
    before = server.job(original)
    answer = rerun(server, original, "failed")
    assert answer.status == 202, answer
    job = answer.body
    job_id = job["resource"]["id"]
    assert [b["id"] for b in job["status"]["benchmarks"]] == ["b"]
    assert job["benchmarks"] == [before["benchmarks"][1]]
    assert (job["name"], job["tags"], job["model"]) == (before["name"], ["x"], before["model"])
    assert (job["resource"]["derived_from"], job["resource"]["repeats"]) == (original, [1])
    finish(server, job_id, "c", "b")
    assert server.job(job_id)["status"]["state"] == "completed"
    after = server.job(original)
    assert {name: after[name] for name in ("status", "results")} == {
        name: before[name] for name in ("status", "results")
    }


def test_the_whole_chain_is_in_the_resource_of_each_of_its_jobs(server: RunningServer):
    first = ended(server, "cff")
    assert "lineage" not in server.job(first)["resource"]
    second = rerun(server, first, "missing").body["resource"]["id"]
    finish(server, second, "fc", "bc")
    third = rerun(server, second, [0]).body["resource"]["id"]
    for job_id in (first, second, third):
        lineage = server.job(job_id)["resource"]["lineage"]
        assert [(m["id"], m.get("derived_from"), m.get("repeats"), m["state"]) for m in lineage] == [
            (first, None, None, "partially_failed"),
            (second, first, [1, 2], "partially_failed"),
            (third, second, [0], "pending"),
        ]
    listed = server.get(f"{API}/jobs?lineage={first}&sort_by=created_at")["items"]
    assert [item["resource"]["id"] for item in listed] == [second, third]
    assert all("lineage" not in item["resource"] for item in listed)
    assert server.get(f"{API}/jobs?derived_from={second}")["total_count"] == 1
    server.call("DELETE", f"{API}/jobs/{first}?hard_delete=true")
    assert [m["id"] for m in server.job(third)["resource"]["lineage"]] == [second, third]


def test_a_collection_is_repeated_in_part(server: RunningServer, config: Config):
    members = [{"provider_id": "scripted", "id": name, "parameters": {"n": 1}} for name in "ab"]
    created = server.call(
        "POST", f"{API}/collections", {"name": "k", "category": "x", "benchmarks": members}
    ).body
    collection = f"{API}/collections/{created['resource']['id']}"
    body = {"name": "j", "model": {"url": "http://m.test", "name": "m"}}
    body["collection"] = {"id": created["resource"]["id"]}
    original = server.call("POST", f"{API}/jobs", body).body["resource"]["id"]
    finish(server, original, "cf", "ab")
    # The snapshot counts, not the collection of today.
    assert server.call("PATCH", collection, {"benchmarks": members[:1]}).status == 200
    answer = rerun(server, original, "failed")
    assert answer.status == 202, answer
    assert answer.body["collection"]["id"] == created["resource"]["id"]
    assert [b["id"] for b in answer.body["status"]["benchmarks"]] == ["b"]
    assert server.get(collection)["status"]["run_count"] == 1


@pytest.mark.parametrize(
    ("states", "only", "refusal", "text"),
    [
        ("cc", "failed", (409, "job_can_not_be_rerun"), "nothing to repeat"),
        ("c", [1], (400, "request_validation_failed"), "only[0]"),
        ("c", [], (400, "request_validation_failed"), "only must not be an empty list"),
        ("c", "some", (400, "invalid_json_request"), "$.only"),
        ("c", None, (400, "invalid_json_request"), "only"),
    ],
)
def test_a_rerun_that_is_not_possible_is_refused(
    server: RunningServer, states: str, only: Any, refusal: tuple[int, str], text: str
):
    answer = rerun(server, ended(server, states), only)
    assert answer.refusal == refusal
    assert text in answer.body["message"]


def test_an_unfinished_job_is_not_repeated(server: RunningServer):
    answer = rerun(server, server.submit("a"), "all")
    assert answer.refusal == (409, "job_can_not_be_rerun")
    assert "has not ended" in answer.body["message"]


def test_a_job_whose_provider_is_gone_is_not_repeated(server: RunningServer):
    config = {"name": "p", "benchmarks": [{"id": "a", "name": "a"}]}
    config["runtime"] = {"local": {"command": f"{sys.executable} -c 0"}}
    provider = server.call("POST", f"{API}/providers", config).body["resource"]["id"]
    job_id = server.submit("a", provider=provider)
    server.finished(job_id)
    assert server.call("DELETE", f"{API}/providers/{provider}").status == 204
    answer = rerun(server, job_id, "all")
    assert answer.refusal == (409, "job_can_not_be_rerun")
    assert f"'{provider}', which does not exist any more" in answer.body["message"]
    assert "lineage" not in server.job(job_id)["resource"]


def test_another_tenant_neither_repeats_nor_sees_a_job(server: RunningServer):
    body = {"name": "j", "model": {"url": "http://m.test", "name": "m"}}
    body["benchmarks"] = [{"provider_id": "scripted", "id": "a"}]
    job_id = server.call("POST", f"{API}/jobs", body, TENANT).body["resource"]["id"]
    finish(server, job_id, "f", "a")
    assert rerun(server, job_id, "all", **{"X-Tenant": "team-b"}).status == 404
    repeated = rerun(server, job_id, "all")  # without a tenant, in local mode
    assert repeated.body["resource"]["tenant"] == "team-a"


def test_a_repeated_request_for_a_rerun_gives_the_same_job(server: RunningServer):
    original = ended(server, "f")
    key = {"Idempotency-Key": "rerun-1"}
    first, second = (rerun(server, original, "all", **key) for _ in range(2))
    assert first.body["resource"]["id"] == second.body["resource"]["id"]
    assert rerun(server, original, "failed", **key).refusal == (422, "idempotency_key_reused")
    assert rerun(server, ended(server, "f"), "all", **key).refusal == (422, "idempotency_key_reused")


def test_lineage_and_keys_survive_a_restart(server: RunningServer):
    original = ended(server, "f")
    key = {"Idempotency-Key": "rerun-2"}
    repeated = rerun(server, original, "all", **key).body["resource"]["id"]
    server.kill()
    server.start()
    assert [m["id"] for m in server.job(original)["resource"]["lineage"]] == [original, repeated]
    assert rerun(server, original, "all", **key).body["resource"]["id"] == repeated
