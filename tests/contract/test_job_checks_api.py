"""Checks of requests for jobs over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.server import API, job_request

PATH = f"{API}/job-checks"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("checks") / "config")
    score = {"primary_score": {"metric": "acc"}, "pass_criteria": {"threshold": 0.25}}
    config.provider("exit 3", "b", "c", benchmark=score)
    config.provider(None, "b", provider_id="elsewhere")
    declared = {
        "alias_of": "d",
        "requires": ["chat", "prompt_logprobs", "judge"],
        "generating_twin": "d",
        "default_parameters": {"k": 1, "n": 2},
    }
    config.write(
        "providers/open.yaml",
        {
            "id": "open",
            "any_benchmark": True,
            "runtime": {"local": {"command": "true"}},
            "benchmarks": [{"id": "a", **declared, **score}, {"id": "d"}],
        },
    )
    member = {"id": "c", "provider_id": "scripted", "weight": 2, "parameters": {"k": 5}}
    config.write("collections/k.yaml", {"id": "k", "name": "K", "category": "x", "benchmarks": [member]})
    with RunningServer(config.folder) as running:
        yield running


def check(server: RunningServer, body: Any, **headers: str) -> dict[str, Any]:
    answer = server.call("POST", PATH, body, headers)
    assert answer.status == 200, answer
    return answer.body


def test_a_valid_request_is_planned_and_not_created(server: RunningServer):
    found = check(server, job_request("b", tags=["x"]))
    assert found == {
        "valid": True,
        "runtime": "local",
        "threshold": 0.5,
        "benchmarks": [
            {
                "benchmark_index": 0,
                "provider_id": "scripted",
                "id": "b",
                "weight": 1.0,
                "primary_score": {"metric": "acc"},
                "threshold": 0.25,
                "runnable": True,
            }
        ],
    }
    assert server.get(f"{API}/jobs")["total_count"] == 0


def test_a_collection_is_merged_with_its_overrides(server: RunningServer):
    override = {"id": "c", "provider_id": "scripted", "parameters": {"k": 1, "n": 3}}
    body = job_request(collection={"id": "k", "benchmarks": [override]})
    del body["benchmarks"]
    (benchmark,) = check(server, body)["benchmarks"]
    assert (benchmark["weight"], benchmark["parameters"]) == (2.0, {"k": 5, "n": 3})
    assert server.get(f"{API}/collections/k").get("status", {}).get("run_count", 0) == 0


def test_requirements_are_warnings_and_default_parameters_are_merged(server: RunningServer):
    body = job_request(benchmarks=[{"id": "a", "provider_id": "open", "parameters": {"n": 3}}])
    found = check(server, body)
    (benchmark,) = found["benchmarks"]
    assert (benchmark["id"], benchmark["alias_of"], benchmark["generating_twin"]) == ("a", "d", "d")
    assert benchmark["requires"] == ["chat", "prompt_logprobs", "judge"]
    assert benchmark["parameters"] == {"k": 1, "n": 3}
    logprobs, judge = found["warnings"]
    assert logprobs["path"] == "benchmarks[0]"
    assert logprobs["message"].startswith("needs the log-probabilities of prompts")
    assert logprobs["message"].endswith("; 'd' has the same questions for chat endpoints")
    assert judge["message"] == "needs a judge model, which the parameters name"
    judged = {"id": "a", "provider_id": "open", "parameters": {"judge_model": "j"}}
    assert check(server, job_request(benchmarks=[judged]))["warnings"] == [logprobs]


def test_a_provider_may_accept_tasks_that_it_does_not_list(server: RunningServer):
    def of(name: str) -> dict[str, Any]:
        return job_request(benchmarks=[{"id": name, "provider_id": "open"}])

    assert check(server, of("mmlu_anatomy"))["valid"]
    assert check(server, of("../anatomy"))["message_code"] == "resource_does_not_exist"
    answer = server.call("POST", f"{API}/jobs", of("mmlu_anatomy"))
    assert answer.status == 202
    assert answer.body["benchmarks"] == [{"id": "mmlu_anatomy", "provider_id": "open"}]
    assert server.get(f"{API}/providers/open")["any_benchmark"] is True
    server.call("DELETE", f"{API}/jobs/{answer.body['resource']['id']}?hard_delete=true")


def test_warnings_name_what_is_perhaps_not_intended(server: RunningServer):
    body = job_request(
        "b", provider="elsewhere", benchmrks=[], pass_criteria={"threshhold": 1, "threshold": 1}
    )
    found = check(server, body)
    assert found["valid"]
    assert found["benchmarks"][0]["runnable"] is False
    assert {(each["path"], each["message"]) for each in found["warnings"]} == {
        ("benchmrks", "is unknown and ignored"),
        ("pass_criteria", "has the unknown field 'threshhold', which is ignored"),
        ("benchmarks[0]", "will fail to start: the provider 'elsewhere' has no runtime.local.command"),
        ("benchmarks[0].primary_score", "is missing, so the benchmark does not count in the score"),
    }


@pytest.mark.parametrize(
    ("change", "code", "paths"),
    [
        (
            {"name": "", "model": {"url": "http://m.test"}},
            "request_validation_failed",
            ["name", "model.name"],
        ),
        ({"model": {"name": "m"}}, "model_url_required", ["model.url"]),
        ({"benchmarks": 5}, "invalid_json_request", ["benchmarks"]),
        ({"experiment": {"name": "e"}}, "mlflow_required_for_experiment", [""]),
        ({"benchmarks": None, "collection": {"id": "none"}}, "resource_not_found", [""]),
        (
            {
                "benchmarks": [
                    {"id": "b", "provider_id": "none"},
                    {"id": "none", "provider_id": "scripted"},
                    {"id": "b", "provider_id": "scripted"},
                ]
            },
            "resource_not_found",
            ["benchmarks[0].provider_id", "benchmarks[1].id"],
        ),
    ],
)
def test_errors_are_those_of_a_create(
    server: RunningServer, change: dict[str, Any], code: str, paths: list[str]
):
    body = {**job_request(), **change}
    found = check(server, body)
    assert (found["valid"], found["message_code"]) == (False, code)
    assert [error["path"] for error in found["errors"]] == paths
    created = server.call("POST", f"{API}/jobs", body)
    assert created.body["message_code"] == code


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_only_what_is_no_json_is_refused(server: RunningServer, body: bytes):
    assert server.call("POST", PATH, body).refusal == (400, "invalid_json_request")


def test_resources_of_other_tenants_do_not_exist(server: RunningServer):
    config = {"name": "p", "benchmarks": [{"id": "b", "name": "b"}]}
    provider = server.call("POST", f"{API}/providers", config, {"X-Tenant": "a"}).body["resource"]["id"]
    body = job_request("b", provider=provider)
    assert check(server, body, **{"X-Tenant": "a"})["valid"]
    assert not check(server, body, **{"X-Tenant": "b"})["valid"]
