"""Patches applied to providers and collections (rest-api §6.6, 7.3 with decisions 1 to 4 and 33)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.domain.json_patch import patch_collection, patch_provider, read_patch
from evalhub_server.domain.resource import CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_view import collection_resource
from evalhub_server.domain.taxonomy import VisibleBenchmarks
from evalhub_server.errors import ApiError
from evalhub_server.models.provider import SYSTEM_OWNER
from harness.resources import (
    LATER,
    NOTHING,
    a_collection,
    a_provider,
    as_json,
    offering,
    plain,
    reason,
    refusal,
)


def op(op: str, path: str, value: Any = None) -> dict[str, Any]:
    return {"op": op, "path": path, "value": value}


def of_provider(patch: Any, record: ProviderRecord) -> ProviderRecord:
    return patch_provider(record, read_patch(as_json(patch), Kind.PROVIDER), LATER)


def of_collection(
    patch: Any, record: CollectionRecord, visible: VisibleBenchmarks = NOTHING
) -> CollectionRecord:
    return patch_collection(record, read_patch(as_json(patch), Kind.COLLECTION), visible, LATER)


def refused_collection(patch: Any, **fields: Any) -> ApiError:
    return refusal(of_collection, patch, a_collection(**fields))


def refused_provider(patch: Any, **fields: Any) -> ApiError:
    return refusal(of_provider, patch, a_provider(**fields))


# --- collections ----------------------------------------------------------------------------------------------

MEMBER = {"id": "n", "provider_id": "q"}
COLLECTION_PATCHES: list[tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = [
    ({}, [op("replace", "/name", "n")], {"name": "n"}),
    ({}, [op("replace", "/description", "d")], {"description": "d"}),
    ({"description": "d"}, [op("remove", "/description")], {"description": ""}),
    ({"description": "d"}, [op("replace", "/description")], {"description": ""}),
    ({}, [op("add", "/tags", ["a"]), op("add", "/tags/-", "c"), op("add", "/tags/1", "b")], {"tags": ["a", "b", "c"]}),
    ({"tags": ["a", "b"]}, [op("remove", "/tags/0")], {"tags": ["b"]}),
    ({"tags": ["a", "b"]}, [op("replace", "/tags/1", "c")], {"tags": ["a", "c"]}),
    ({"custom": {"a": 1}}, [op("add", "/custom/b~1c", {"d": None})], {"custom": {"a": 1, "b/c": {"d": None}}}),
    ({"custom": {"a": 1}}, [op("replace", "/custom/b", 2)], {"custom": {"a": 1, "b": 2}}),
    ({"custom": {"a": {"b": 1}}}, [op("remove", "/custom/a/b")], {"custom": {"a": {}}}),
    ({"custom": {"A": 1}}, [op("add", "/custom/a", 2)], {"custom": {"A": 1, "a": 2}}),
    ({"custom": {}}, [op("remove", "/custom")], {}),
    ({}, [op("add", "/pass_criteria", {"threshold": 0})], {"pass_criteria": {"threshold": 0}}),
    ({"pass_criteria": {"threshold": 1}}, [op("remove", "/pass_criteria")], {}),
    ({}, [op("replace", "/benchmarks", [MEMBER])], {"benchmarks": [MEMBER]}),
    ({}, [op("replace", "/benchmarks/0", MEMBER)], {"benchmarks": [MEMBER]}),
    (
        {},
        [op("replace", "/benchmarks/0/weight", 2)],
        {"benchmarks": [{"id": "b", "provider_id": "p", "weight": 2}]},
    ),
    ({}, [op("add", "/domains", ["law"]), op("replace", "/domains/0", "fin")], {"domains": ["fin"]}),
]  # fmt: skip


@pytest.mark.parametrize(("before", "patch", "after"), COLLECTION_PATCHES)
def test_a_patch_changes_what_it_names(
    before: dict[str, Any], patch: list[dict[str, Any]], after: dict[str, Any]
) -> None:
    expected = replace(a_collection(**after), updated_at=LATER)
    assert of_collection(patch, a_collection(**before)) == expected


@pytest.mark.parametrize(
    "patch",
    [
        op("remove", "/description"),
        op("remove", "/tags/2"),
        op("remove", "/tags/-"),
        op("remove", "/tags/x"),
        op("replace", "/tags/2", "x"),
        op("replace", "/tags/-", "x"),
        op("replace", "/tags/01", "x"),
        op("replace", "/tags/-1", "x"),
        op("add", "/tags/3", "x"),
        op("add", "/tags/", "x"),
        op("add", "/tags/0/x", "x"),
        op("add", "/tags/9999999999999999999999999", "x"),
        op("replace", "/tags/" + "9" * 5000, "x"),
        op("remove", "/tags/" + "9" * 30),
        op("add", "/custom/a", 1),
        op("add", "/domains/-", "x"),
        op("replace", "/benchmarks/1", MEMBER),
        op("replace", "/benchmarks/0/id/x", 1),
        op("add", "/tags/~2", "x"),
    ],
)
def test_a_patch_that_does_not_fit_the_document_is_refused(patch: dict[str, Any]) -> None:
    assert refused_collection([patch], tags=["a", "b"]).code == "invalid_json_request"


@pytest.mark.parametrize(
    "patch",
    [
        op("replace", "/name", 5),
        op("replace", "/tags", "x"),
        op("replace", "/tags/0", 1),
        op("replace", "/custom", []),
        op("replace", "/benchmarks", {}),
        op("replace", "/benchmarks/0", 1),
        op("replace", "/benchmarks/0/weight", "1"),
        op("replace", "/pass_criteria", 1),
        op("replace", "/pinned_order", "x"),
        op("replace", "/pinned_order", 1.5),
        op("replace", "/pinned_order", True),
        op("replace", "/pinned_order", 2**63),
        op("replace", "/pinned_order", []),
    ],
)
def test_a_patch_to_a_wrong_type_is_refused(patch: dict[str, Any]) -> None:
    assert refused_collection([patch], tags=["a"]).code == "invalid_json_request"


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        (op("replace", "/name"), "CollectionConfig.name"),
        (op("replace", "/category", ""), "CollectionConfig.category"),
        (op("replace", "/benchmarks", []), "CollectionConfig.benchmarks"),
        (op("replace", "/benchmarks/0/id", ""), "CollectionConfig.benchmarks[0].Ref.id"),
        (op("replace", "/benchmarks/0/weight", -1), "CollectionConfig.benchmarks[0].weight"),
        (op("replace", "/description", "x" * 1025), "CollectionConfig.description"),
        (op("add", "/pass_criteria", {}), "CollectionConfig.pass_criteria.threshold"),
        (op("replace", "/tags", ["a,b"]), "CollectionConfig.tags[0]"),
    ],
)
def test_the_patched_collection_is_validated(patch: dict[str, Any], text: str) -> None:
    assert text in reason(refused_collection([patch]), "request_validation_failed")


def test_a_pin_is_set_moved_and_taken_away() -> None:
    record = of_collection([op("add", "/pinned_order", 5)], a_collection())
    assert record.pinned_order == 5
    assert of_collection([op("replace", "/pinned_order", 7)], record).pinned_order == 7
    for zero in (0, None):
        assert of_collection([op("replace", "/pinned_order", zero)], record).pinned_order == 0
    assert of_collection([op("replace", "/name", "n")], record).pinned_order == 5
    assert of_collection({"pinned_order": 2}, record).pinned_order == 2


def test_a_pin_below_zero_is_refused() -> None:
    error = refused_collection([op("replace", "/pinned_order", -1)])
    assert reason(error, "request_validation_failed") == "pinned_order must be 0 or positive"


def test_protected_collections_are_not_even_pinned() -> None:
    system = replace(a_collection(), owner=SYSTEM_OWNER)
    for record in (system, a_collection(curation_order=1)):
        for patch in ([], {}, [op("replace", "/pinned_order", -1)], [op("replace", "/tags/9", 1)]):
            assert refusal(of_collection, patch, record).code == "read_only_collection"


def test_what_clients_read_as_derived_can_be_patched() -> None:
    visible = offering(b={"url": "http://b", "domains": ["fin", "law"]})
    record = a_collection(visible)
    extended = of_collection([op("add", "/domains/-", "med")], record, visible)
    assert extended.config.domains == ("fin", "law", "med")
    other = of_collection([op("replace", "/name", "n")], record, visible)
    assert (other.config.domains, other.derived) == ((), {"domains": ("fin", "law")})
    same = of_collection([op("replace", "/benchmarks/0/url", "http://mine")], record, visible)
    assert plain(collection_resource(same, visible))["benchmarks"][0]["url"] == "http://b"


def test_origin_and_count_stay() -> None:
    record = replace(a_collection(), derived_from="source", run_count=3)
    assert of_collection([], record) == replace(record, updated_at=LATER)


# --- providers ------------------------------------------------------------------------------------------------

RUNTIME = {
    "k8s": {"image": "i", "cpu_request": "1", "env": [{"name": "A", "value": "a"}]},
    "local": {"command": "c"},
}


@pytest.mark.parametrize(
    ("path", "value", "entry", "key", "stored"),
    [
        ("/runtime/k8s/Image", "new", "k8s", "image", "new"),
        ("/runtime/k8s/image", "new", "k8s", "image", "new"),
        ("/runtime/K8s/CPURequest", "2", "k8s", "cpu_request", "2"),
        ("/runtime/k8s/cpu_request", "2", "k8s", "cpu_request", "2"),
        ("/runtime/k8s/MemoryLimit", "4Gi", "k8s", "memory_limit", "4Gi"),
        ("/runtime/k8s/Env/0/Value", "b", "k8s", "env", [{"name": "A", "value": "b"}]),
        ("/runtime/k8s/env", [{"Name": "B"}], "k8s", "env", [{"name": "B", "value": ""}]),
        ("/runtime/k8s/gpu", {"Count": 1}, "k8s", "gpu", {"count": 1}),
        ("/runtime/Local/Command", "x", "local", "command", "x"),
        ("/runtime/local/cwd", "/x", "local", "cwd", "/x"),
    ],
)
def test_both_spellings_of_a_runtime_path_work(
    path: str, value: Any, entry: str, key: str, stored: Any
) -> None:
    runtime = of_provider([op("replace", path, value)], a_provider(runtime=RUNTIME)).config.runtime
    assert runtime[entry] == {**RUNTIME[entry], key: stored}


def test_labels_of_nodes_and_plugins_entries_keep_their_case() -> None:
    runtime = {"k8s": {"gpu": {"count": 1, "node_selector": {"Zone": "a"}}}, "thread": {"Function": "f"}}
    patch = [
        op("replace", "/runtime/k8s/GPU/Node_Selector/Zone", "b"),
        op("replace", "/runtime/thread/Function", "g"),
    ]
    assert of_provider(patch, a_provider(runtime=runtime)).config.runtime == {
        "k8s": {"gpu": {"count": 1, "node_selector": {"Zone": "b"}}},
        "thread": {"Function": "g"},
    }


def test_a_runtime_is_replaced_and_taken_away() -> None:
    record = a_provider(runtime=RUNTIME)
    put = of_provider([op("replace", "/runtime", {"Local": {"Command": "x"}})], record)
    assert put.config.runtime == {"local": {"command": "x"}}
    assert of_provider([op("replace", "/runtime")], record).config.runtime == {}
    assert of_provider([op("replace", "/runtime/k8s")], record).config.runtime.keys() == {"local"}
    added = of_provider([op("replace", "/runtime", {"local": {"command": "x"}})], a_provider())
    assert added.config.runtime == {"local": {"command": "x"}}


def test_custom_and_agent_of_a_provider_are_patched() -> None:
    record = of_provider(
        [op("add", "/custom", {"a": {}}), op("add", "/custom/a/b", 1), op("add", "/agent", {"summary": "s"})],
        a_provider(),
    )
    assert record.config.custom == {"a": {"b": 1}}
    assert (
        of_provider([op("remove", "/agent/summary")], record).config.agent
        == a_provider(agent={}).config.agent
    )
    assert of_provider([op("remove", "/agent"), op("remove", "/custom")], record) == replace(
        a_provider(), updated_at=LATER
    )


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ([op("replace", "/name", 5)], "invalid_json_request"),
        ([op("replace", "/benchmarks/0", {})], "invalid_json_request"),
        ([op("replace", "/runtime/local", "x")], "invalid_json_request"),
        ([op("replace", "/runtime/local/command", "x")], "invalid_json_request"),
        ([op("replace", "/name", "")], "request_validation_failed"),
        ([op("add", "/agent", {"target_type": "x"})], "request_validation_failed"),
        ([op("replace", "/runtime", {"k8s": {"image_pull_policy": "x"}})], "request_validation_failed"),
        ([op("replace", "/benchmarks", [{}])], "request_validation_failed"),
        ([], "read_only_provider"),
        ({}, "read_only_provider"),
    ],
)
def test_an_invalid_result_is_reported_before_a_protected_provider(patch: Any, code: str) -> None:
    system = replace(a_provider(), owner=SYSTEM_OWNER)
    assert refusal(of_provider, patch, system).code == code
    if patch:
        assert refused_provider(patch).code == code


# --- merge patches --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({}, {"name": "n", "description": "d"}, {"name": "n", "description": "d"}),
        ({"description": "d"}, {"description": None}, {}),
        ({}, {"description": None}, {}),
        ({"tags": ["a", "b"]}, {"tags": ["c"]}, {"tags": ["c"]}),
        ({"custom": {"a": {"x": 1, "y": 2}, "b": 1}}, {"custom": {"a": {"x": None, "z": 3}}},
         {"custom": {"a": {"y": 2, "z": 3}, "b": 1}}),
        ({"custom": {"a": 1}}, {"custom": {"a": {"b": None, "c": [None]}}}, {"custom": {"a": {"c": [None]}}}),
        ({"runtime": RUNTIME}, {"Runtime": {"local": None, "k8s": {"Image": "new", "CPURequest": None}}},
         {"runtime": {"k8s": {"image": "new", "env": [{"name": "A", "value": "a"}]}}}),
        ({}, {"runtime": {"local": {"command": "x"}}}, {"runtime": {"local": {"command": "x"}}}),
        ({"agent": {"summary": "s", "hints": ["h"]}}, {"agent": {"summary": None}}, {"agent": {"hints": ["h"]}}),
        ({"benchmarks": [{"id": "b"}]}, {"benchmarks": [{"id": "c"}]}, {"benchmarks": [{"id": "c"}]}),
    ],
)  # fmt: skip
def test_an_object_is_merged(before: dict[str, Any], patch: dict[str, Any], after: dict[str, Any]) -> None:
    assert of_provider(patch, a_provider(**before)) == replace(a_provider(**after), updated_at=LATER)


def test_an_object_merges_into_what_may_only_be_replaced_as_a_whole() -> None:
    record = a_collection(pass_criteria={"threshold": 1})
    merged = of_collection({"pass_criteria": {"threshold": 0.5}}, record)
    assert merged == replace(a_collection(pass_criteria={"threshold": 0.5}), updated_at=LATER)
    error = refusal(of_collection, {"pass_criteria": {"threshold": None}}, record)
    assert error.code == "request_validation_failed"


# --- bounds and purity ----------------------------------------------------------------------------------------


def test_the_patched_document_is_bounded() -> None:
    patch = read_patch(as_json({"custom": {"a": "x" * 500}}), Kind.COLLECTION)
    assert patch_collection(a_collection(), patch, NOTHING, LATER, -1)
    assert patch_collection(a_collection(), patch, NOTHING, LATER, 2000)
    error = refusal(patch_collection, a_collection(), patch, NOTHING, LATER, 500)
    assert "larger than 500 bytes" in reason(error, "invalid_json_request")


def test_several_operations_do_not_build_a_deeper_document_than_one_body_may() -> None:
    value: Any = 1
    for _ in range(150):
        value = {"a": value}
    deep = [op("add", "/custom", value), op("add", "/custom" + "/a" * 149, value)]
    assert "nested deeper" in reason(refused_collection(deep), "invalid_json_request")


def test_a_patch_can_be_applied_again() -> None:
    patch = read_patch(
        as_json([op("add", "/custom", {"a": []}), op("add", "/custom/a/-", 1)]), Kind.COLLECTION
    )
    record = a_collection(custom={"z": [1]})
    first = patch_collection(record, patch, NOTHING, LATER)
    assert patch_collection(record, patch, NOTHING, LATER) == first
    assert first.config.custom == {"a": [1]}
    again = patch_collection(
        record, read_patch(as_json([op("add", "/custom/z/-", 2)]), Kind.COLLECTION), NOTHING, LATER
    )
    assert again.config.custom == {"z": [1, 2]}
    assert record.config.custom == {"z": [1]}
