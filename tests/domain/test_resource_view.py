"""The provider and collection resources that clients read (rest-api §6.2, 7.1, 7.2 with decisions 1 and 2)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.models.provider import SYSTEM_OWNER
from harness.resources import NOTHING, a_collection, a_provider, offering, plain

INFO = {
    "id": "id-1",
    "tenant": "team-a",
    "created_at": "2026-05-01T12:00:00Z",
    "updated_at": "2026-05-01T12:00:00Z",
    "owner": "ada",
}


def test_a_small_provider_has_an_empty_list_of_benchmarks() -> None:
    resource = plain(provider_resource(a_provider()))
    assert resource == {"resource": INFO, "name": "p", "title": "", "benchmarks": []}


def test_a_system_provider_has_an_owner_and_no_tenant() -> None:
    record = replace(a_provider(), owner=SYSTEM_OWNER, tenant="")
    assert plain(provider_resource(record))["resource"] == {
        **{key: value for key, value in INFO.items() if key != "tenant"},
        "owner": "system",
    }


def test_a_provider_shows_what_was_sent_with_documented_keys() -> None:
    sent = {
        "name": "p",
        "title": "T",
        "description": "d",
        "tags": ["t"],
        "runtime": {"k8s": {"image": "i", "env": [{"name": "A", "value": "b"}]}},
        "agent": {"summary": "s", "target_type": "agent"},
        "custom": {"free": None},
        "benchmarks": [
            {
                "id": "b",
                "name": "",
                "category": "",
                "num_few_shot": 0,
                "dataset_size": 0,
                "agent": {"score_ranges": [{"range": "0-1", "meaning": "m"}]},
                "tasks": ["qa"],
            }
        ],
    }
    assert plain(provider_resource(a_provider(**sent))) == {"resource": INFO} | sent


def test_a_benchmark_always_has_its_scalars_and_never_an_empty_list() -> None:
    record = a_provider(benchmarks=[{"id": "b", "metrics": [], "url": "", "domains": []}])
    assert plain(provider_resource(record))["benchmarks"] == [
        {"id": "b", "name": "", "category": "", "num_few_shot": 0, "dataset_size": 0}
    ]


def test_a_small_collection_shows_what_was_sent() -> None:
    assert plain(collection_resource(a_collection(), NOTHING)) == {
        "resource": INFO,
        "name": "c",
        "category": "x",
        "benchmarks": [{"id": "b", "provider_id": "p"}],
    }


def test_empty_objects_that_were_sent_are_kept_and_empty_texts_and_lists_are_not() -> None:
    resource = plain(
        collection_resource(a_collection(custom={}, agent={}, description="", tags=[], tasks=[]), NOTHING)
    )
    assert resource.keys() == {"resource", "name", "category", "benchmarks", "custom", "agent"}


def test_a_member_has_the_url_of_its_provider() -> None:
    resource = plain(collection_resource(a_collection(), offering(b={"url": "http://b"})))
    assert resource["benchmarks"] == [{"id": "b", "provider_id": "p", "url": "http://b"}]


@pytest.mark.parametrize(
    ("derived_from", "run_count", "status"),
    [("", 0, None), ("source", 0, {}), ("", 2, {"run_count": 2}), ("source", 1, {"run_count": 1})],
)
def test_the_status_counts_runs_and_is_empty_on_a_new_clone(
    derived_from: str, run_count: int, status: object
) -> None:
    record = replace(a_collection(), derived_from=derived_from, run_count=run_count)
    assert plain(collection_resource(record, NOTHING)).get("status") == status


def test_origin_and_pin_are_shown_if_there_are_any() -> None:
    record = replace(a_collection(), derived_from="source", pinned_order=4)
    resource = plain(collection_resource(record, NOTHING))
    assert (resource["derived_from"], resource["pinned_order"]) == ("source", 4)
