"""What a PATCH may ask for: forms, operations and the allow-lists (rest-api §6.6, 7.3 with decision 4)."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.json_patch import ALLOWED, MAX_OPERATIONS, Patch, read_patch
from evalhub_server.domain.resource import Kind
from evalhub_server.domain.validation import MAX_DEPTH
from evalhub_server.errors import ApiError
from harness.resources import as_json, reason, refusal

OPS = ("add", "replace", "remove")

# Path, its operations, those of the paths below it; a copy of the contract's two tables.
COLLECTION_TABLE: list[tuple[str, str, str]] = [
    ("/name", "replace", ""),
    ("/category", "replace", ""),
    ("/description", "add replace remove", ""),
    ("/pass_criteria", "add replace remove", ""),
    ("/tags", "add replace remove", "add replace remove"),
    ("/custom", "add replace remove", "add replace remove"),
    ("/domains", "add replace remove", "add replace remove"),
    ("/tasks", "add replace remove", "add replace remove"),
    ("/modalities", "add replace remove", "add replace remove"),
    ("/industries", "add replace remove", "add replace remove"),
    ("/evaluation_targets", "add replace remove", "add replace remove"),
    ("/benchmarks", "replace", "replace"),
    ("/pinned_order", "add replace", ""),
    ("/agent", "", ""),
    ("/curation_order", "", ""),
    ("/derived_from", "", ""),
    ("/status", "", ""),
    ("/resource", "", ""),
    ("/title", "", ""),
    ("/", "", ""),
]
PROVIDER_TABLE: list[tuple[str, str, str]] = [
    ("/name", "replace", ""),
    ("/title", "add replace remove", ""),
    ("/description", "add replace remove", ""),
    ("/tags", "add replace remove", "add replace remove"),
    ("/custom", "add replace remove", "add replace remove"),
    ("/agent", "add replace remove", "add replace remove"),
    ("/runtime", "replace", "replace"),
    ("/benchmarks", "replace", "replace"),
    ("/resource", "", ""),
    ("/id", "", ""),
    ("/pinned_order", "", ""),
]
ROWS = [(Kind.COLLECTION, *row) for row in COLLECTION_TABLE] + [
    (Kind.PROVIDER, *row) for row in PROVIDER_TABLE
]


def patched(*operations: Any, kind: Kind = Kind.COLLECTION) -> Patch:
    return read_patch(as_json(list(operations)), kind)


def refused(*operations: Any, kind: Kind = Kind.COLLECTION) -> ApiError:
    return refusal(read_patch, as_json(list(operations)), kind)


@pytest.mark.parametrize(("kind", "path", "whole", "below"), ROWS)
@pytest.mark.parametrize("op", OPS)
def test_only_the_operations_of_the_table_are_allowed(
    kind: Kind, path: str, whole: str, below: str, op: str
) -> None:
    for where, allowed in ((path, whole), (f"{path}/0", below), (f"{path}/", below), (f"{path}/a/b", below)):
        operation = {"op": op, "path": where, "value": 1}
        if op in allowed.split():
            assert len(patched(operation, kind=kind).operations) == 1
            continue
        error = refused(operation, kind=kind)
        assert error.code == "unallowed_patch"
        assert error.message == f"The operation '{op}' is not allowed for the path '{where}'."


@pytest.mark.parametrize(("kind", "path", "whole", "_below"), ROWS)
def test_the_same_table_holds_for_the_members_of_an_object(
    kind: Kind, path: str, whole: str, _below: str
) -> None:
    name = path[1:]
    for value, op in ((1, "replace"), (None, "remove")):
        body = as_json({name: value})
        if op in whole.split():
            assert read_patch(body, kind).members == {name: value}
        else:
            assert refusal(read_patch, body, kind).message == (
                f"The operation '{op}' is not allowed for the path '{path}'."
            )


def test_no_row_of_the_tables_is_missing_here() -> None:
    assert {row[0][1:] for row in COLLECTION_TABLE if row[1]} == ALLOWED[Kind.COLLECTION].keys()
    assert {row[0][1:] for row in PROVIDER_TABLE if row[1]} == ALLOWED[Kind.PROVIDER].keys()


@pytest.mark.parametrize(
    "path", ["name", "//name", "/Name", "/name~0", "/n~1ame", "x/name", " /name", "#/name"]
)
def test_other_spellings_of_a_path_are_other_paths(path: str) -> None:
    assert refused({"op": "replace", "path": path, "value": "x"}).code == "unallowed_patch"


@pytest.mark.parametrize("op", ["test", "move", "copy", "Replace", "REMOVE", "", "x"])
def test_other_operations_are_unknown(op: str) -> None:
    error = refused({"op": op, "path": "/nope"})
    assert error.code == "invalid_patch_operation"
    assert error.message == (
        f"The patch operation '{op}' is not valid. Allowed operations are: replace, add, remove."
    )


@pytest.mark.parametrize("operation", [{}, None, {"op": None}, {"path": "/name"}])
def test_a_missing_operation_is_an_unknown_one(operation: Any) -> None:
    assert refused(operation).code == "invalid_patch_operation"


@pytest.mark.parametrize("path", [{}, {"path": ""}, {"path": None}])
def test_an_operation_needs_a_path(path: dict[str, Any]) -> None:
    error = refused({"op": "replace", "value": "x"} | path)
    assert reason(error, "invalid_json_request") == "Invalid patch path"


def test_operations_are_checked_one_after_the_other() -> None:
    bad_op, bad_path, bad_root = {"op": "test"}, {"op": "add"}, {"op": "add", "path": "/x"}
    assert refused(bad_op, bad_path, bad_root).code == "invalid_patch_operation"
    assert refused(bad_path, bad_root, bad_op).code == "invalid_json_request"
    assert refused(bad_root, bad_op, bad_path).code == "unallowed_patch"


@pytest.mark.parametrize("body", [b"[]", b"null", b"{}", b" [ ] "])
def test_an_empty_patch_changes_nothing(body: bytes) -> None:
    assert read_patch(body, Kind.PROVIDER) == Patch()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"1",
        b'"x"',
        b"true",
        b"[",
        b"[1]",
        b'["x"]',
        b"[[]]",
        b'[{"op":1}]',
        b'[{"op":"add","path":1}]',
    ],
)
def test_what_is_no_patch_is_refused(body: bytes) -> None:
    assert refusal(read_patch, body, Kind.COLLECTION).code == "invalid_json_request"


def test_the_keys_of_an_operation_and_the_members_of_an_object_match_in_any_case() -> None:
    assert read_patch(b'[{"OP":"replace","Path":"/name","VALUE":"x"}]', Kind.COLLECTION) == (
        patched({"op": "replace", "path": "/name", "value": "x"})
    )
    assert read_patch(b'{"NAME":"x"}', Kind.COLLECTION).members == {"name": "x"}


def test_a_missing_value_is_null() -> None:
    assert patched({"op": "replace", "path": "/name"}).operations[0].value is None


def test_patches_are_bounded() -> None:
    operation = {"op": "replace", "path": "/name", "value": "x"}
    assert len(patched(*[operation] * MAX_OPERATIONS).operations) == MAX_OPERATIONS
    too_many = refused(*[operation] * (MAX_OPERATIONS + 1))
    assert "at most 1000 operations" in reason(too_many, "invalid_json_request")
    assert patched({"op": "add", "path": "/custom" + "/a" * (MAX_DEPTH - 1)})
    too_long = refused({"op": "add", "path": "/custom" + "/a" * 1_000_000})
    assert "at most 200 parts" in reason(too_long, "invalid_json_request")
