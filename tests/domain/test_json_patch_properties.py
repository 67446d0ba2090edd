"""What holds for every patch and every record: properties over generated documents."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from evalhub_server.domain.json_patch import ALLOWED, patch_collection, patch_provider, read_patch
from evalhub_server.domain.resource import AnyResource, CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_collection, read_provider
from evalhub_server.domain.resource_transitions import (
    clone,
    new_collection,
    new_provider,
    read_overrides,
    replace_collection,
    replace_provider,
)
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.errors import ApiError
from harness.resources import LATER, MADE, as_json, offering

EXAMPLES = settings.default.max_examples
slow_to_draw = settings(suppress_health_check=[HealthCheck.too_slow])

AVAILABLE = offering(
    b={"url": "http://b", "domains": ["law", "fin"], "tasks": ["qa"]}, c={"domains": ["med"]}
)

# --- documents that a client may send -------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8", exclude_characters=",|"), min_size=1, max_size=8)
maybe = st.text(st.characters(codec="utf-8"), max_size=8)
lists = st.lists(texts, max_size=3)
counts = st.integers(-(2**63), 2**63 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
values = st.recursive(
    st.none() | st.booleans() | numbers | maybe,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(maybe, inner, max_size=3),
    max_leaves=6,
)
free = st.dictionaries(maybe, values, max_size=3)
scores = st.fixed_dictionaries({"metric": texts}, optional={"lower_is_better": st.booleans()})
criteria = st.fixed_dictionaries({"threshold": st.floats(allow_nan=False, allow_infinity=False)})
agents = st.fixed_dictionaries({}, optional={"summary": maybe, "hints": lists, "complements": st.none()})
variables = st.lists(st.fixed_dictionaries({"Name": maybe}, optional={"Value": maybe}), max_size=2)
runtimes = st.fixed_dictionaries(
    {},
    optional={
        "k8s": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "Image": maybe,
                "cpu_request": maybe,
                "Env": variables | st.none(),
                "image_pull_policy": st.sampled_from(["always", "if_not_present", ""]),
                "gpu": st.fixed_dictionaries({}, optional={"Count": counts, "resource": st.none()}),
            },
        ),
        "local": st.fixed_dictionaries({"command": maybe}, optional={"env": variables, "cwd": maybe}),
        "thread": st.dictionaries(texts, maybe, max_size=2),
    },
)
offers = st.fixed_dictionaries(
    {"id": texts},
    optional={
        "name": maybe,
        "url": maybe | st.none(),
        "metrics": lists,
        "num_few_shot": counts,
        "primary_score": scores | st.none(),
        "pass_criteria": criteria,
        "agent": st.fixed_dictionaries({}, optional={"result_interpretation": maybe}),
        "domains": lists,
    },
)
providers = st.fixed_dictionaries(
    {"name": texts},
    optional={
        "title": maybe,
        "description": maybe | st.none(),
        "tags": lists,
        "benchmarks": st.lists(offers, max_size=2),
        "Runtime": runtimes | st.none(),
        "agent": agents | st.none(),
        "custom": free | st.none(),
    },
).map(lambda document: new_provider(read_provider(as_json(document)), MADE))
members = st.fixed_dictionaries(
    {"id": st.sampled_from(["b", "c", "d"]), "provider_id": st.sampled_from(["p", "q"])},
    optional={
        "url": maybe,
        "weight": st.floats(0, 1e300),
        "parameters": free,
        "primary_score": scores | st.none(),
        "pass_criteria": criteria,
        "test_data_ref": st.just({"hf": {"repo_id": "r"}}),
    },
)
configs = st.fixed_dictionaries(
    {"name": texts, "category": texts, "benchmarks": st.lists(members, min_size=1, max_size=3)},
    optional={
        "description": maybe,
        "tags": lists,
        "custom": free | st.none(),
        "pass_criteria": criteria | st.none(),
        "agent": agents,
        "domains": lists | st.just(["fin", "law"]),
        "tasks": lists,
        "industries": lists,
    },
)
collections = st.builds(
    lambda document, derived_from, pinned_order, run_count: replace(
        new_collection(read_collection(as_json(document)), AVAILABLE, MADE),
        derived_from=derived_from,
        pinned_order=pinned_order,
        run_count=run_count,
    ),
    configs,
    st.sampled_from(["", "source"]),
    st.integers(0, 3),
    st.integers(0, 3),
)
records = providers | collections


def kind_of(record: AnyResource) -> Kind:
    return Kind.PROVIDER if isinstance(record, ProviderRecord) else Kind.COLLECTION


def view(record: AnyResource) -> bytes:
    if isinstance(record, ProviderRecord):
        return msgspec.json.encode(provider_resource(record))
    return msgspec.json.encode(collection_resource(record, AVAILABLE))


def patched(record: AnyResource, body: bytes) -> AnyResource:
    patch = read_patch(body, kind_of(record))
    if isinstance(record, ProviderRecord):
        return patch_provider(record, patch, LATER)
    return patch_collection(record, patch, AVAILABLE, LATER)


def outcome(record: AnyResource, body: bytes) -> Any:
    """The new record, or the code of the refusal; anything else that is raised fails the test."""
    try:
        return patched(record, body)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017
        return error.code


# --- properties -----------------------------------------------------------------------------------------------


@slow_to_draw
@given(records)
def test_a_record_survives_a_round_trip_through_json(record: AnyResource) -> None:
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


@slow_to_draw
@given(records)
def test_what_a_get_shows_can_be_put_and_changes_only_the_time(record: AnyResource) -> None:
    again = (
        replace_provider(record, read_provider(view(record)), LATER)
        if isinstance(record, ProviderRecord)
        else replace_collection(record, read_collection(view(record)), AVAILABLE, LATER)
    )
    assert again == replace(record, updated_at=LATER)
    assert patched(record, b"[]") == again == patched(record, b"{}")


FREE_FORM = {"custom", "parameters", "thread"}


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value).items()
        return any(key not in FREE_FORM and has_null(item) for key, item in entries)
    return value is None or (isinstance(value, list) and any(map(has_null, cast("list[Any]", value))))


@slow_to_draw
@given(records)
def test_a_view_has_no_null_and_always_has_its_lists(record: AnyResource) -> None:
    document = json.loads(view(record))
    assert not has_null(document)
    assert isinstance(document["benchmarks"], list)


roots = st.sampled_from(
    sorted(ALLOWED[Kind.PROVIDER].keys() | ALLOWED[Kind.COLLECTION].keys() | {"status", ""})
)
parts = (
    st.sampled_from(["0", "1", "-", "", "01", "9" * 25, "a", "~1", "~", "id", "k8s", "Env", "image", "local"])
    | maybe
)
paths = st.builds(lambda root, below: "/" + "/".join((root, *below)), roots, st.lists(parts, max_size=4))
operations = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "replace", "remove"]) | values,
        "path": paths | values,
        "value": values | lists | runtimes | free,
        "from": paths,
    },
)
likely_operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove"]), "path": paths, "value": values | lists | runtimes}
)
FITTING: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("/name", texts),
    ("/description", maybe),
    ("/tags", lists),
    ("/tags/0", texts),
    ("/tags/-", texts),
    ("/custom", free),
    ("/custom/a", values),
    ("/pinned_order", st.integers(-1, 3)),
    ("/domains/-", texts),
    ("/agent/summary", maybe),
    ("/runtime", runtimes),
    ("/runtime/k8s/Image", maybe),
    ("/benchmarks/0", offers | members),
    ("/benchmarks/0/url", maybe),
]
"""Paths with values that fit, so that many patches can be applied."""
fitting_operations = st.sampled_from(FITTING).flatmap(
    lambda row: st.fixed_dictionaries(
        {
            "op": st.sampled_from(["add", "replace", "replace", "remove"]),
            "path": st.just(row[0]),
            "value": row[1],
        }
    )
)
merges = st.dictionaries(roots | maybe, values | lists | runtimes | free, min_size=1, max_size=4)
bodies = (
    st.lists(operations | likely_operations, min_size=1, max_size=3).map(as_json)
    | merges.map(as_json)
    | (values.map(as_json) | st.binary(max_size=30))
)


@settings(slow_to_draw, max_examples=4 * EXAMPLES)
@given(records, bodies)
def test_any_patch_is_either_applied_or_a_client_error(record: AnyResource, body: bytes) -> None:
    check(record, body)


@settings(slow_to_draw, max_examples=4 * EXAMPLES)
@given(records, st.lists(fitting_operations, min_size=1, max_size=2).map(as_json))
def test_a_patch_that_fits_leaves_a_sound_record_or_is_a_client_error(
    record: AnyResource, body: bytes
) -> None:
    check(record, body)


def check(record: AnyResource, body: bytes) -> None:
    result = outcome(record, body)
    if isinstance(result, str):
        assert result in {
            "invalid_json_request",
            "invalid_patch_operation",
            "unallowed_patch",
            "request_validation_failed",
        }
        return
    # What a patch leaves can be put, stored and shown.
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result
    assert not has_null(json.loads(view(result)))
    assert patched(result, b"[]") == result
    identity = ("id", "tenant", "owner", "created_at")
    assert all(getattr(result, name) == getattr(record, name) for name in identity)


def reference_merge(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = reference_merge(target.get(name), value)
    return target


mergeable = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "description": maybe | st.none(),
        "tags": lists | st.none(),
        "custom": free | st.none(),
        "agent": agents | st.none(),
        "pass_criteria": criteria | st.none(),
        "pinned_order": st.integers(0, 5),
        "domains": lists | st.none(),
    },
)


@settings(slow_to_draw, max_examples=3 * EXAMPLES)
@given(records, mergeable)
def test_a_merge_equals_the_json_patch_that_makes_the_same_document(
    record: AnyResource, merge: dict[str, Any]
) -> None:
    allowed = ALLOWED[kind_of(record)]
    merge = {name: value for name, value in merge.items() if name in allowed}
    before = json.loads(view(record))
    after = reference_merge(json.loads(view(record)), merge)
    # As text, since 1 equals True in Python.
    touched = [
        name
        for name in before | after
        if (name in before, as_json(before.get(name))) != (name in after, as_json(after.get(name)))
    ]
    steps = [
        {"op": "replace", "path": f"/{name}", "value": after[name]}
        if name in after
        else {"op": "remove", "path": f"/{name}"}
        for name in touched
    ]
    assert outcome(record, as_json(merge)) == outcome(record, as_json(steps))


@slow_to_draw
@given(collections, st.binary(max_size=30) | merges.map(as_json) | configs.map(as_json))
def test_any_body_makes_either_a_clone_or_a_client_error(source: CollectionRecord, body: bytes) -> None:
    try:
        made = clone(source, read_overrides(body), AVAILABLE, MADE)
    except ApiError as error:
        assert error.status == 400  # noqa: PT017
    else:
        assert not has_null(json.loads(view(made)))
