"""Bodies of provider and collection requests (rest-api §6.1, 7.1, 7.2 with decisions 1, 30, 33)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.resource_requests import provider_config, read_collection, read_provider
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from harness.resources import a_collection, a_provider, as_json, collection_document, reason, refusal

PASCAL = {
    "Image": "i",
    "Entrypoint": ["a"],
    "CPURequest": "1",
    "MemoryRequest": "2Gi",
    "CPULimit": "2",
    "MemoryLimit": "4Gi",
    "GPU": {"Resource": "nvidia.com/gpu", "Count": 1, "Node_Selector": {"Zone": "A"}},
    "Env": [{"Name": "A", "Value": "b"}],
    "Image_Pull_Policy": "always",
}
SNAKE = {
    "image": "i",
    "entrypoint": ["a"],
    "cpu_request": "1",
    "memory_request": "2Gi",
    "cpu_limit": "2",
    "memory_limit": "4Gi",
    "gpu": {"resource": "nvidia.com/gpu", "count": 1, "node_selector": {"Zone": "A"}},
    "env": [{"name": "A", "value": "b"}],
    "image_pull_policy": "always",
}


def runtime(**entries: Any) -> dict[str, Any]:
    return a_provider(runtime=entries).config.runtime


@pytest.mark.parametrize("entry", [PASCAL, SNAKE], ids=["as released", "as documented"])
def test_both_spellings_of_a_kubernetes_runtime_are_stored_as_documented(entry: dict[str, Any]) -> None:
    assert runtime(k8s=entry) == {"k8s": SNAKE}
    assert a_provider(Runtime={"K8S": entry}).config.runtime == {"k8s": SNAKE}


def test_the_last_of_several_runtimes_in_a_body_counts() -> None:
    body = b'{"name":"p","runtime":{"local":{"command":"a"}},"RUNTIME":{"Local":{"Command":"b"}}}'
    assert read_provider(body).runtime == {"local": {"command": "b"}}


def test_nulls_in_a_runtime_are_absent() -> None:
    entry = {"image": "i", "env": None, "gpu": {"count": 1, "node_selector": None}, "cwd": None}
    assert runtime(k8s=entry, local=None, thread=None) == {"k8s": {"image": "i", "gpu": {"count": 1}}}
    assert runtime(k8s={"image": None}, local={}) == {}
    assert a_provider(runtime=None).config.runtime == {}


def test_empty_values_of_a_runtime_are_kept() -> None:
    entry = {"image": "", "entrypoint": [], "image_pull_policy": "", "cpu_limit": ""}
    assert runtime(k8s=entry, local={"command": ""}) == {"k8s": entry, "local": {"command": ""}}


def test_a_plugins_keys_and_entries_stay_as_they_are() -> None:
    assert runtime(local={"command": "c", "cwd": "/x"}, thread={"Function": "f"}) == {
        "local": {"command": "c", "cwd": "/x"},
        "thread": {"Function": "f"},
    }


def test_an_environment_entry_always_has_a_name_and_a_value() -> None:
    assert runtime(local={"env": [{"Name": "A"}]}) == {"local": {"env": [{"name": "A", "value": ""}]}}


@pytest.mark.parametrize(
    "given",
    [
        {"runtime": []},
        {"runtime": "x"},
        {"runtime": {"local": "x"}},
        {"runtime": {"local": 0}},
        {"runtime": {"local": {"command": 5}}},
        {"runtime": {"local": {"env": {}}}},
        {"runtime": {"local": {"env": [{"name": "A", "value": 1}]}}},
        {"runtime": {"k8s": {"image": 5}}},
        {"runtime": {"k8s": {"gpu": {"count": "1"}}}},
        {"name": 5},
        {"tags": "x"},
        {"custom": []},
        {"benchmarks": {}},
        {"benchmarks": [{"num_few_shot": 1.5}]},
    ],
)
def test_a_wrong_type_is_refused(given: dict[str, Any]) -> None:
    assert refusal(read_provider, as_json({"name": "p"} | given)).code == "invalid_json_request"


def test_a_wrong_type_in_a_runtime_is_named_with_its_path() -> None:
    error = refusal(read_provider, as_json({"name": "p", "runtime": {"k8s": {"Image": 5}}}))
    assert "`$.runtime.k8s.image`" in error.message


@pytest.mark.parametrize("body", [b"", b" ", b"[]", b"1", b"{", b"{} x", b'{"name":"p"'])
@pytest.mark.parametrize("read", [read_provider, read_collection])
def test_a_body_that_is_no_object_is_refused(read: Any, body: bytes) -> None:
    assert refusal(read, body).code == "invalid_json_request"


def complaint(read: Any, document: Any) -> list[str]:
    return reason(refusal(read, as_json(document)), "request_validation_failed").splitlines()


def failed(path: str, rule: str) -> str:
    field = path.rpartition(".")[2]
    return f"Key: '{path}' Error:Field validation for '{field}' failed on the '{rule}' tag"


PROVIDER_RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "required"),
    ({"name": None}, "name", "required"),
    ({"description": "x" * 1025}, "description", "max"),
    ({"tags": ["a,b"]}, "tags[0]", "tagname"),
    ({"tags": ["a", ""]}, "tags[1]", "tagname"),
    ({"agent": {"summary": "x" * 201}}, "agent.summary", "max"),
    ({"benchmarks": [{}]}, "benchmarks[0].id", "required"),
    ({"benchmarks": [{"id": "b", "description": "x" * 1025}]}, "benchmarks[0].description", "max"),
    ({"benchmarks": [{"id": "b", "primary_score": {}}]}, "benchmarks[0].primary_score.metric", "required"),
    ({"benchmarks": [{"id": "b", "pass_criteria": {}}]}, "benchmarks[0].pass_criteria.threshold", "required"),
    (
        {"benchmarks": [{"id": "b", "agent": {"score_ranges": [{"meaning": "m"}]}}]},
        "benchmarks[0].agent.score_ranges[0].range",
        "required",
    ),
]


@pytest.mark.parametrize(("given", "path", "rule"), PROVIDER_RULES)
def test_a_broken_rule_of_a_provider_is_named(given: dict[str, Any], path: str, rule: str) -> None:
    assert complaint(read_provider, {"name": "p"} | given) == [failed(f"ProviderConfig.{path}", rule)]


COLLECTION_RULES: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name", "required"),
    ({"category": ""}, "category", "required"),
    ({"category": "x" * 129}, "category", "max"),
    ({"description": "x" * 1025}, "description", "max"),
    ({"tags": ["a|b"]}, "tags[0]", "tagname"),
    ({"pass_criteria": {}}, "pass_criteria.threshold", "required"),
    ({"benchmarks": None}, "benchmarks", "required"),
    ({"BENCHMARKS": None, "benchmarks": []}, "benchmarks", "min"),
    ({"benchmarks": [{"id": "b"}]}, "benchmarks[0].provider_id", "required"),
    ({"benchmarks": [{"id": "b", "provider_id": "p", "weight": -1}]}, "benchmarks[0].weight", "min"),
    ({"agent": {"summary": "x" * 201}}, "agent.summary", "max"),
    ({"curation_order": -1}, "curation_order", "min"),
]


@pytest.mark.parametrize(("given", "path", "rule"), COLLECTION_RULES)
def test_a_broken_rule_of_a_collection_is_named(given: dict[str, Any], path: str, rule: str) -> None:
    document = collection_document(**given)
    assert complaint(read_collection, document) == [failed(f"CollectionConfig.{path}", rule)]


def test_an_empty_collection_breaks_all_its_rules_at_once() -> None:
    paths = ("name", "category", "benchmarks")
    assert complaint(read_collection, {}) == [
        failed(f"CollectionConfig.{path}", "required") for path in paths
    ]


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "never"])
def test_an_unknown_pull_policy_lists_the_known_ones(policy: str) -> None:
    document = {"name": "p", "runtime": {"k8s": {"image_pull_policy": policy}}}
    text = "image_pull_policy must be one of: if_not_present, always"
    assert complaint(read_provider, document) == [text]


def test_rules_that_the_released_server_lacks_come_after_its_own() -> None:
    document = {"benchmarks": [{}], "agent": {"target_type": "x"}}
    text = "target_type must be one of: model, agent, inference_server"
    assert complaint(read_provider, document) == [text]
    assert complaint(read_provider, {"benchmarks": [{}], "description": "x" * 1025}) == [
        failed("ProviderConfig.description", "max"),
        failed("ProviderConfig.name", "required"),
        failed("ProviderConfig.benchmarks[0].id", "required"),
    ]


def test_what_may_be_wrong_is_accepted_as_by_the_released_server() -> None:
    """Tags of provider benchmarks, duplicate ids, unknown members, resolved_sha on a collection, any GPU count."""
    config = a_provider(
        benchmarks=[{"id": "b", "tags": ["a,b"]}, {"id": "b", "num_few_shot": -1}],
        runtime={"k8s": {"gpu": {"count": -5}, "cpu_limit": "zz"}},
    ).config
    assert [benchmark.id for benchmark in config.benchmarks] == ["b", "b"]
    data = {"hf": {"repo_id": "r"}, "resolved_sha": "abc"}
    members = [{"id": "nope", "provider_id": "nope", "test_data_ref": data}] * 2
    assert len(a_collection(benchmarks=members).config.benchmarks) == 2


def test_limits_count_characters_and_include_their_value() -> None:
    assert a_provider(description="ü" * 1024, agent={"summary": "ü" * 200})
    assert a_collection(description="ü" * 1024, category="ü" * 128, tags=["ü" * 128])


def test_what_the_server_manages_is_ignored() -> None:
    managed = {
        "resource": {"id": "x", "owner": "system", "created_at": 1},
        "derived_from": 5,
        "pinned_order": "x",
        "status": {"run_count": 9},
        "url": 1,
        "id": [],
    }
    member = {"id": "b", "provider_id": "p", "url": "http://client"}
    assert a_collection(**managed, benchmarks=[member]) == a_collection()
    assert a_provider(**managed) == a_provider()


def test_custom_of_a_provider_is_stored() -> None:
    free = {"Key": None, "nested": {"NULL": None, "list": [None]}}
    assert a_provider(custom=free).config.custom == free
    assert a_provider(custom={}).config.custom == {}


def test_the_full_dumps_of_the_sdk_are_accepted() -> None:
    benchmark = {
        "id": "b",
        "name": "B",
        "category": "c",
        "metrics": [],
        "num_few_shot": 0,
        "dataset_size": 0,
        "tags": [],
        "url": None,
        "description": None,
        "primary_score": None,
        "pass_criteria": None,
        "agent": None,
    }
    dump = {
        "name": "p",
        "title": "",
        "tags": [],
        "benchmarks": [benchmark],
        "description": None,
        "runtime": None,
        "agent": None,
    }
    assert read_provider(as_json(dump)) == ProviderConfig(
        name="p", benchmarks=(ProviderBenchmark(id="b", name="B", category="c"),)
    )
    member = {"id": "b", "provider_id": "p", "weight": 1.0, "parameters": {}}
    member |= {"primary_score": None, "pass_criteria": None, "test_data_ref": None}
    collection = collection_document(
        description="", tags=[], custom={}, pass_criteria=None, benchmarks=[member]
    )
    assert read_collection(as_json(collection)) == a_collection(custom={}, benchmarks=[member]).config


def test_keys_match_in_any_case_and_unknown_ones_are_dropped() -> None:
    body = b'{"NAME":"c","Category":"x","Benchmarks":[{"ID":"b","Provider_Id":"p","nope":1}],"nope":{"a":1}}'
    assert read_collection(body) == a_collection().config
    assert isinstance(read_collection(body), CollectionConfig)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
def test_a_curation_order_that_no_database_holds_is_refused(number: int) -> None:
    body = as_json(collection_document(curation_order=number))
    assert refusal(read_collection, body).code == "invalid_json_request"


def test_a_provider_file_is_read_like_a_request_but_not_validated() -> None:
    assert provider_config(json.loads('{"Runtime":{"Local":{"Command":"c"}}}')) == ProviderConfig(
        runtime={"local": {"command": "c"}}
    )
    with pytest.raises(msgspec.ValidationError, match=r"\$\.runtime\.local\.command"):
        provider_config({"runtime": {"local": {"command": 1}}})
    with pytest.raises(msgspec.ValidationError):
        provider_config([])


def test_a_null_body_is_an_empty_object() -> None:
    assert complaint(read_provider, None) == [failed("ProviderConfig.name", "required")]
