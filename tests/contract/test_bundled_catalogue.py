"""Jobs of the bundled catalogue over HTTP, in local mode, with a stub as the command of each provider."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import Config, RunningServer
from harness.config import steps_command
from harness.server import API, job_request

BUNDLED = Path(__file__).resolve().parents[2] / "config"
RELEASED: dict[str, Any] = json.loads(
    (BUNDLED.parent / "tests" / "fixtures" / "released_catalogue.json").read_text("utf-8")
)
ALIAS = "inspect/gsm8k"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("catalogue") / "config", local={"max_parallel": 1})
    for kind in ("providers", "collections"):
        for file in (BUNDLED / kind).iterdir():
            document = yaml.load(file.read_text("utf-8"), yaml.CSafeLoader)
            if kind == "providers":
                report = 'completed:{"accuracy/accuracy": 0.5}'
                stub = steps_command(report) if file.stem == "inspect" else "exec sleep 600"
                document["runtime"] = {"local": {"command": stub}}
            config.write(f"{kind}/{file.name}", json.dumps(document))  # JSON is YAML, and written faster
    with RunningServer(config.folder) as running:
        yield running


def submit(server: RunningServer, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.call("POST", f"{API}/jobs", body)
    assert answer.status == 202, answer
    return answer.body


@pytest.mark.parametrize("released", RELEASED["providers"], ids=lambda released: released["id"])
def test_every_released_benchmark_can_be_submitted(server: RunningServer, released: dict[str, Any]) -> None:
    benchmarks = [
        {"id": facts["id"], "provider_id": released["id"], "parameters": {"num_examples": 1}}
        for facts in released["benchmarks"]
    ]
    job = submit(server, job_request(benchmarks=benchmarks))
    assert job["benchmarks"] == benchmarks
    assert job["status"]["state"] == "pending"
    assert server.call("DELETE", f"{API}/jobs/{job['resource']['id']}?hard_delete=true").status == 204


@pytest.mark.parametrize("collection_id", [*(each["id"] for each in RELEASED["collections"]), "chat-v1"])
def test_every_collection_can_be_submitted(server: RunningServer, collection_id: str) -> None:
    body = job_request(collection={"id": collection_id})
    del body["benchmarks"]
    job = submit(server, body)
    assert server.call("DELETE", f"{API}/jobs/{job['resource']['id']}?hard_delete=true").status == 204


def test_a_benchmark_that_no_framework_has_does_not_exist(server: RunningServer) -> None:
    for provider_id in ("lm_evaluation_harness", "inspect", "garak", "lighteval"):
        body = job_request(benchmarks=[{"id": "invalid_benchmark", "provider_id": provider_id}])
        answer = server.call("POST", f"{API}/jobs", body)
        assert (answer.status, answer.body["message_code"]) == (400, "resource_does_not_exist")
        checked = server.call("POST", f"{API}/job-checks", body).body
        assert [error["path"] for error in checked["errors"]] == ["benchmarks[0].id"]


@pytest.mark.parametrize(
    ("provider_id", "benchmark_id"),
    [
        ("lm_evaluation_harness", "mmlu_anatomy_generative"),
        ("inspect", "inspect_evals/gaia"),
        ("garak", "dan.DanInTheWild"),
    ],
)
def test_tasks_of_the_frameworks_need_not_be_listed(
    server: RunningServer, provider_id: str, benchmark_id: str
) -> None:
    listed = {each["id"] for each in server.get(f"{API}/providers/{provider_id}")["benchmarks"]}
    assert benchmark_id not in listed
    body = job_request(benchmarks=[{"id": benchmark_id, "provider_id": provider_id}])
    assert server.call("POST", f"{API}/job-checks", body).body["valid"]
    job = submit(server, body)
    assert server.call("DELETE", f"{API}/jobs/{job['resource']['id']}?hard_delete=true").status == 204


def test_a_profile_of_guidellm_gets_its_parameters(server: RunningServer) -> None:
    body = job_request(benchmarks=[{"id": "constant", "provider_id": "guidellm", "parameters": {"rate": 7}}])
    (benchmark,) = server.call("POST", f"{API}/job-checks", body).body["benchmarks"]
    assert benchmark["parameters"] == {"profile": "constant", "rate": 7, "max_seconds": 60}


def test_events_and_results_keep_the_id_that_the_client_sent(server: RunningServer) -> None:
    score = {"primary_score": {"metric": "accuracy/accuracy"}, "pass_criteria": {"threshold": 0.4}}
    body = job_request(benchmarks=[{"id": ALIAS, "provider_id": "inspect", **score}])
    job = server.finished(submit(server, body)["resource"]["id"])
    assert job["status"]["state"] == "completed"
    assert [each["id"] for each in job["status"]["benchmarks"]] == [ALIAS]
    (result,) = job["results"]["benchmarks"]
    assert (result["id"], result["test"]["pass"]) == (ALIAS, True)


def test_clients_find_the_providers_by_their_released_names(server: RunningServer) -> None:
    for released in RELEASED["providers"]:
        found = server.get(f"{API}/providers?name={released['name'].replace(' ', '%20')}&limit=10")
        assert [each["resource"]["id"] for each in found["items"]] == [released["id"]]
