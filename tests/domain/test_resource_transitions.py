"""Creating, replacing, cloning and deleting providers and collections (rest-api §6.3, 6.5, 6.7, 7.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from evalhub_server.domain.resource import AnyResource, CollectionRecord
from evalhub_server.domain.resource_requests import read_collection, read_provider
from evalhub_server.domain.resource_transitions import (
    Creation,
    check_changeable,
    check_deletable,
    clone,
    read_overrides,
    replace_collection,
    replace_provider,
    with_run_counted,
)
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER
from harness.resources import (
    LATER,
    MADE,
    NOON,
    NOTHING,
    a_collection,
    a_provider,
    as_json,
    collection_document,
    offering,
    reason,
    refusal,
)

CLONED = Creation(id="id-2", tenant="team-b", owner="bob", now=LATER)


def test_a_new_resource_belongs_to_its_creator() -> None:
    for record in (a_provider(), a_collection()):
        assert (record.id, record.tenant, record.owner) == ("id-1", "team-a", "ada")
        assert record.created_at == record.updated_at == NOON


def test_a_replaced_provider_keeps_its_identity() -> None:
    record = a_provider(description="old", tags=["a"])
    replaced = replace_provider(record, read_provider(b'{"name":"new"}'), LATER)
    assert replaced == replace(a_provider(name="new"), updated_at=LATER)


def test_a_replaced_collection_keeps_identity_origin_pin_and_count() -> None:
    kept: dict[str, Any] = {"derived_from": "source", "pinned_order": 3, "run_count": 2}
    record = replace(a_collection(description="old"), **kept)
    config = read_collection(as_json(collection_document(name="new")))
    expected = replace(a_collection(name="new"), **kept, updated_at=LATER)
    assert replace_collection(record, config, NOTHING, LATER) == expected


def test_what_a_get_shows_can_be_put_and_changes_only_the_time() -> None:
    provider = a_provider(
        title="",
        tags=["t"],
        custom={"a": None},
        benchmarks=[{"id": "b", "url": "u", "tags": [], "primary_score": {"metric": "m"}, "agent": {}}],
        runtime={"local": {"command": "c", "env": [{"Name": "A"}]}, "k8s": {"Image": "i", "gpu": {}}},
        agent={"target_type": "model"},
    )
    shown = msgspec.json.encode(provider_resource(provider))
    assert replace_provider(provider, read_provider(shown), LATER) == replace(provider, updated_at=LATER)
    visible = offering(b={"url": "http://b", "domains": ["law", "fin"]})
    collection = replace(
        a_collection(visible, custom={}, pass_criteria={"threshold": 0}, agent={}, tasks=["t"]),
        derived_from="source",
        pinned_order=1,
        run_count=1,
    )
    shown = msgspec.json.encode(collection_resource(collection, visible))
    put = replace_collection(collection, read_collection(shown), visible, LATER)
    assert put == replace(collection, updated_at=LATER)


SYSTEM = {"owner": SYSTEM_OWNER, "tenant": ""}
PROTECTED: list[tuple[AnyResource, str, bool]] = [
    (replace(a_provider(), **SYSTEM), "read_only_provider", False),
    (replace(a_collection(), **SYSTEM), "read_only_collection", False),
    (a_collection(curation_order=1), "read_only_collection", True),
]


@pytest.mark.parametrize(("record", "code", "deletable"), PROTECTED, ids=["provider", "system", "curated"])
def test_protected_resources_are_not_changed(record: AnyResource, code: str, deletable: bool) -> None:
    error = refusal(check_changeable, record)
    assert error.code == code
    assert (
        error.message
        == f"{code.removeprefix('read_only_').capitalize()} 'id-1' cannot be modified or deleted."
    )
    if deletable:
        check_deletable(record)
    else:
        assert refusal(check_deletable, record).code == code


@pytest.mark.parametrize("record", [a_provider(), a_collection()])
def test_other_resources_can_be_changed_and_deleted(record: AnyResource) -> None:
    check_changeable(record)
    check_deletable(record)


def test_protected_resources_are_not_replaced() -> None:
    by: list[Callable[..., Any]] = [replace_provider, replace_collection, replace_collection]
    more: list[tuple[Any, ...]] = [(LATER,), (NOTHING, LATER), (NOTHING, LATER)]
    for (record, code, _), put, rest in zip(PROTECTED, by, more, strict=True):
        assert refusal(put, record, record.config, *rest).code == code


def test_a_collection_that_becomes_curated_stays_as_it_is() -> None:
    config = read_collection(as_json(collection_document(curation_order=1)))
    curated = replace_collection(a_collection(), config, NOTHING, LATER)
    assert refusal(replace_collection, curated, a_collection().config, NOTHING, LATER).code == (
        "read_only_collection"
    )


def test_a_counted_run_is_no_change_of_the_collection() -> None:
    record = with_run_counted(with_run_counted(a_collection()))
    assert (record.run_count, record.updated_at) == (2, NOON)


# --- clones ---------------------------------------------------------------------------------------------------

SOURCE = replace(
    a_collection(
        description="d",
        tags=["t"],
        custom={"a": 1, "b": 2},
        agent={"summary": "s"},
        curation_order=3,
        domains=["law"],
    ),
    pinned_order=2,
    run_count=7,
    derived_from="elsewhere",
)


def cloned(body: bytes, source: CollectionRecord = SOURCE) -> CollectionRecord:
    return clone(source, read_overrides(body), NOTHING, CLONED)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"{}",
        b"null",
        b"null and more",
        b"{} and more",
        b'{"name":null,"tags":[],"description":"","benchmarks":[]}',
        b'{"curation_order":-2}',
        b'{"curation_order":5}',
    ],
)
def test_a_clone_without_overrides_is_the_source_of_another_owner(body: bytes) -> None:
    record = cloned(body)
    assert record.config == replace(SOURCE.config, curation_order=0)
    assert (record.id, record.tenant, record.owner) == ("id-2", "team-b", "bob")
    assert record.created_at == record.updated_at == LATER
    assert (record.derived_from, record.pinned_order, record.run_count) == (SOURCE.id, 0, 0)


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"name": "new"}, "name", "new"),
        ({"NAME": "new"}, "name", "new"),
        ({"tags": ["x"]}, "tags", ("x",)),
        ({"custom": {}}, "custom", {}),
        ({"custom": {"z": {"any": None}}}, "custom", {"z": {"any": None}}),
        ({"domains": ["fin"]}, "domains", ("fin",)),
    ],
)
def test_overrides_replace_whole_fields(given: dict[str, Any], field: str, value: Any) -> None:
    config = cloned(as_json(given)).config
    assert getattr(config, field) == value
    assert replace(config, **{field: getattr(SOURCE.config, field)}) == replace(
        SOURCE.config, curation_order=0
    )


def test_overridden_members_and_agent_are_not_merged() -> None:
    members = [{"id": "n", "provider_id": "p", "url": "http://mine", "parameters": {"free": {"x": 1}}}]
    config = cloned(as_json({"benchmarks": members, "agent": {"hints": ["h"]}})).config
    assert [ref.id for ref in config.benchmarks] == ["n"]
    assert config.agent is not None
    assert (config.agent.summary, config.agent.hints) == ("", ("h",))


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"nope": 1}, "nope"),
        ({"Nope": None}, "Nope"),
        ({"resource": {}}, "resource"),
        ({"derived_from": "x"}, "derived_from"),
        ({"status": {}}, "status"),
        ({"agent": {"target_type": "model"}}, "target_type"),
        ({"pass_criteria": {"threshold": 1, "deep": 1}}, "deep"),
        ({"benchmarks": [{"id": "b", "provider_id": "p", "x": 1}]}, "x"),
        ({"benchmarks": [{"id": "b", "provider_id": "p", "test_data_ref": {"hf": {"y": 1}}}]}, "y"),
    ],
)
def test_unknown_fields_of_overrides_are_refused_at_any_depth(given: dict[str, Any], key: str) -> None:
    error = refusal(read_overrides, as_json(given))
    assert reason(error, "invalid_json_request") == f'json: unknown field "{key}"'


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"{", b"nul", b'{"name":1}', b'{"benchmarks":{}}'])
def test_overrides_of_the_wrong_type_are_refused(body: bytes) -> None:
    assert refusal(read_overrides, body).code == "invalid_json_request"


def test_only_the_first_value_of_a_body_is_read() -> None:
    assert read_overrides(b' {"name":"}{"}{"name":1}').name == "}{"
    assert read_overrides(b'{"custom":{"a":[{}]}}]]').custom == {"a": [{}]}


def test_the_merged_clone_is_validated() -> None:
    error = refusal(cloned, as_json({"tags": ["a,b"], "pass_criteria": {}}))
    lines = reason(error, "request_validation_failed").splitlines()
    assert [line.split("'")[1] for line in lines] == [
        "CollectionConfig.tags[0]",
        "CollectionConfig.pass_criteria.threshold",
    ]


def test_system_collections_can_be_cloned_and_the_clone_changed() -> None:
    check_changeable(cloned(b"", replace(SOURCE, **SYSTEM)))


# --- JSON -----------------------------------------------------------------------------------------------------


def test_records_survive_a_round_trip_through_json() -> None:
    visible = offering(b={"domains": ["law"]})
    provider = a_provider(
        custom={"a": [None]}, benchmarks=[{"id": "b"}], runtime={"local": {"env": [{"name": "A"}]}}
    )
    for record in (provider, replace(a_collection(visible), run_count=3, pinned_order=2)):
        assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


def test_a_clone_of_a_clone_names_its_direct_source() -> None:
    again = clone(cloned(b""), CollectionConfig(), NOTHING, MADE)
    assert again.derived_from == "id-2"
