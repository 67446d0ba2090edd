"""The recorded provider and collection traffic of the released server, replayed against the domain."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import patch_collection, patch_provider, read_patch
from evalhub_server.domain.provider_normalization import normalize_runtime
from evalhub_server.domain.resource import AnyResource, CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_collection, read_provider
from evalhub_server.domain.resource_transitions import (
    Creation,
    check_deletable,
    clone,
    new_collection,
    new_provider,
    read_overrides,
    replace_collection,
    replace_provider,
)
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.domain.taxonomy import VisibleBenchmarks, visible_benchmarks
from evalhub_server.errors import ApiError
from evalhub_server.models.provider import SYSTEM_OWNER
from harness.resources import LATER, SAMPLES

Sample = dict[str, Any]

OTHER_ANSWER: dict[str, tuple[str, int, str]] = {
    "provider-create-empty": ("decision 30", 400, "request_validation_failed"),
    "provider-create-bench-no-id": ("decision 30", 400, "request_validation_failed"),
    "collection-patch-type-mismatch": ("decision 4", 400, "invalid_json_request"),
    "collection-patch-pinned-type": ("decision 4", 400, "invalid_json_request"),
}
"""Samples that are answered with another status and code, and the decision that says so."""

OTHER_TEXT = {
    "provider-patch-type-mismatch": "Go's text about a wrong type; rest-api 1.4 has only the code matter"
}
"""Samples that are refused with the same status and code in other words."""

ONLY_WEB = {"provider-list-bad-scope", "provider-list-scope-owner"}
"""Query strings; tests/domain/test_problems.py has their texts."""

NAMES = sorted(path.stem for path in SAMPLES.glob("*.json") if re.match(r"(provider|collection)-", path.stem))
LISTS = [name for name in NAMES if "-list" in name and name not in ONLY_WEB]
SINGLE = [name for name in NAMES if name not in {*LISTS, *ONLY_WEB}]


def recorded(name: str) -> Sample:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def kind_of(name: str) -> Kind:
    return Kind(name.partition("-")[0])


def record_of(document: dict[str, Any], kind: Kind) -> AnyResource:
    """The stored record that a recorded resource shows."""
    info: dict[str, Any] = msgspec.convert(document["resource"], dict[str, Any])
    made = Creation(id=info["id"], tenant=info.get("tenant", ""), owner=info.get("owner", ""), now=LATER)
    body = json.dumps(document).encode()
    if kind is Kind.PROVIDER:
        return new_provider(read_provider(body), made)
    record = new_collection(read_collection(body), PROVIDERS, made)
    return replace(
        record, derived_from=document.get("derived_from", ""), pinned_order=document.get("pinned_order", 0)
    )


def providers() -> VisibleBenchmarks:
    """As they were when the collections were recorded; one benchmark had got its URL after its provider's sample."""
    samples = [recorded(name)["response"]["body"] for name in ("provider-create", "provider-create-taxonomy")]
    samples[1]["benchmarks"][0]["url"] = "http://u"
    return visible_benchmarks({s["resource"]["id"]: read_provider(json.dumps(s).encode()) for s in samples})


PROVIDERS = providers()


def comparable(document: Any, name: str) -> Any:
    """A recorded or a made resource without what differs by decision or by the clock."""
    shown = dict(document)
    shown["resource"] = {k: v for k, v in shown["resource"].items() if not k.endswith("_at")}
    if "runtime" in shown:  # decision 1: documented keys, absent when empty
        runtime = normalize_runtime(shown["runtime"])
        if "k8s" in runtime:
            runtime["k8s"] = {key: value for key, value in runtime["k8s"].items() if value not in ("", None)}
        shown["runtime"] = runtime
    for taxonomy in ("domains", "tasks", "modalities", "evaluation_targets"):
        if taxonomy in shown:  # decision 26: sorted
            shown[taxonomy] = sorted(shown[taxonomy])
    if name == "collection-create-taxonomy-derived":  # recorded before the provider had that URL
        shown["benchmarks"] = [{k: v for k, v in b.items() if k != "url"} for b in shown["benchmarks"]]
    return shown


def view(record: AnyResource) -> Any:
    if isinstance(record, ProviderRecord):
        return json.loads(msgspec.json.encode(provider_resource(record)))
    return json.loads(msgspec.json.encode(collection_resource(record, PROVIDERS)))


def before(sample: Sample, kind: Kind) -> AnyResource:
    """A record that the request of a sample may have met."""
    answer, request = sample["response"]["body"], sample["request"]
    resource_id = request["path"].split("/")[5]
    if sample["response"]["status"] not in (200, 201):
        owner = SYSTEM_OWNER if "read_only" in str(answer) else ""
        document = {"name": "n", "category": "c", "benchmarks": [{"id": "b", "provider_id": "p"}]}
        return record_of({"resource": {"id": resource_id, "owner": owner}} | document, kind)
    if request["method"] == "GET":
        return record_of(answer, kind)
    document = answer | {"resource": answer["resource"] | {"id": resource_id}}
    if request["method"] == "PUT":
        return record_of(document | {"name": "old", "description": "was not there"}, kind)
    if request["method"] == "POST":  # a clone shows what its source was made of
        del document["derived_from"]
        changed = set(request.get("body") or {})
    else:
        changed = {operation["path"].split("/")[1] for operation in request["body"]}
    unchanged = {key: value for key, value in document.items() if key not in changed}
    return record_of({"name": "old"} | unchanged, kind)


def answer_to(sample: Sample, kind: Kind) -> AnyResource | None:
    """What the server will do with a recorded request, as far as it is the domain's to do."""
    request = sample["request"]
    given = request.get("body")
    body = b"" if given is None else json.dumps(given).encode()
    headers = request.get("headers") or {}
    made = Creation(
        id=(sample["response"]["body"] or {}).get("resource", {}).get("id", ""),
        tenant=headers.get("X-Tenant", ""),
        owner=headers.get("X-User", ""),
        now=LATER,
    )
    read: Callable[[bytes], Any] = read_provider if kind is Kind.PROVIDER else read_collection
    if request["method"] == "POST" and request["path"].endswith("/clones"):
        source = before(sample, kind)
        assert isinstance(source, CollectionRecord)
        return clone(source, read_overrides(body), PROVIDERS, made)
    if request["method"] == "POST":
        config = read(body)
        return (
            new_provider(config, made) if kind is Kind.PROVIDER else new_collection(config, PROVIDERS, made)
        )
    config = read(body) if request["method"] == "PUT" else None
    patch = read_patch(body, kind) if request["method"] == "PATCH" else None
    if sample["response"]["status"] == 404:
        raise problems.not_found(kind.value, request["path"].rpartition("/")[2])
    record = before(sample, kind)
    if request["method"] == "DELETE":
        check_deletable(record)
        return None
    if isinstance(record, ProviderRecord):
        if config is not None:
            return replace_provider(record, config, LATER)
        return patch_provider(record, patch, LATER) if patch is not None else record
    if config is not None:
        return replace_collection(record, config, PROVIDERS, LATER)
    return patch_collection(record, patch, PROVIDERS, LATER) if patch is not None else record


@pytest.mark.parametrize("name", SINGLE)
def test_a_recorded_request_is_answered_as_recorded(name: str) -> None:
    sample = recorded(name)
    status, expected = sample["response"]["status"], sample["response"]["body"]
    code = expected["message_code"] if status >= 400 else ""
    _, status, code = OTHER_ANSWER.get(name, ("", status, code))
    if status < 400:
        record = answer_to(sample, kind_of(name))
        if record is None:
            assert status == 204
        else:
            assert comparable(view(record), name) == comparable(with_snake_values(name, expected), name)
        return
    with pytest.raises(ApiError) as caught:
        answer_to(sample, kind_of(name))
    assert (caught.value.status, caught.value.code) == (status, code)
    if name not in OTHER_ANSWER and name not in OTHER_TEXT:
        assert caught.value.message == expected["message"]


def with_snake_values(name: str, expected: Any) -> Any:
    """Decision 1: the released server lost what documented keys said."""
    if name != "provider-create-k8s-snake":
        return expected
    return expected | {"runtime": recorded(name)["request"]["body"]["runtime"]}


@pytest.mark.parametrize("name", LISTS)
def test_a_recorded_item_of_a_list_is_shown_as_recorded(name: str) -> None:
    for item in recorded(name)["response"]["body"]["items"]:
        record = record_of(item, kind_of(name))
        assert comparable(view(record), name) == comparable(item, name)


def test_every_deviation_is_about_a_sample() -> None:
    assert OTHER_ANSWER.keys() | OTHER_TEXT.keys() <= set(SINGLE)
    assert len(NAMES) == 45
