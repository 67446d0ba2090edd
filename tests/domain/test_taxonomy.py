"""What a collection gets from its providers (rest-api §6.4 with decisions 26 and 30)."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.resource import CollectionRecord, resource_labels
from evalhub_server.domain.resource_requests import read_collection
from evalhub_server.domain.resource_transitions import replace_collection
from evalhub_server.domain.resource_view import collection_resource
from evalhub_server.domain.taxonomy import (
    derived_taxonomy,
    taxonomy_of,
    unknown_members,
    visible_benchmarks,
    with_derived,
    with_urls,
)
from harness.resources import (
    LATER,
    NOTHING,
    a_collection,
    a_provider,
    as_json,
    collection_document,
    offering,
    plain,
)

TWO = [{"id": "a", "provider_id": "p"}, {"id": "b", "provider_id": "p"}]
TAXED = offering(
    a={"domains": ["law", "fin"], "tasks": ["qa"], "url": "http://a"},
    b={"domains": ["med", "law"], "modalities": ["text"]},
    c={"domains": ["other"], "url": "http://c"},
)


def shown(record: CollectionRecord, name: str = "domains") -> Any:
    return plain(collection_resource(record, TAXED)).get(name)


def test_empty_lists_are_sorted_unions_over_the_members() -> None:
    record = a_collection(TAXED, benchmarks=TWO)
    expected = {"domains": ("fin", "law", "med"), "tasks": ("qa",), "modalities": ("text",)}
    assert derived_taxonomy(record.config, TAXED) == expected == record.derived
    assert shown(record) == ["fin", "law", "med"]
    assert shown(record, "evaluation_targets") is None


def test_a_list_of_its_own_is_kept_and_industries_are_never_derived() -> None:
    record = a_collection(TAXED, benchmarks=TWO, domains=["z", "a"])
    assert shown(record) == ["z", "a"]
    assert shown(record, "tasks") == ["qa"]
    assert shown(record, "industries") is None


def test_filters_find_derived_lists() -> None:
    assert resource_labels(a_collection(TAXED, benchmarks=TWO))["domains"] == ("fin", "law", "med")
    assert resource_labels(a_collection(TAXED, benchmarks=TWO, domains=["z"]))["domains"] == ("z",)


def test_the_taxonomy_follows_the_providers() -> None:
    record = a_collection(TAXED, benchmarks=TWO)
    changed = offering(a={"domains": ["new"]})
    assert plain(collection_resource(record, changed))["domains"] == ["new"]
    assert with_derived(record, TAXED) is record
    followed = with_derived(record, changed)
    assert resource_labels(followed)["domains"] == ("new",)
    assert followed.updated_at == record.updated_at


def test_urls_come_from_visible_benchmarks_that_have_one() -> None:
    members = [*TWO, {"id": "c", "provider_id": "elsewhere", "url": "http://mine"}]
    record = a_collection(benchmarks=members)
    assert [member.url for member in with_urls(record.config, TAXED)] == ["http://a", "", ""]
    assert [member.url for member in with_urls(record.config, NOTHING)] == ["", "", ""]


def test_of_benchmarks_with_the_same_id_the_first_counts() -> None:
    provider = a_provider(benchmarks=[{"id": "b", "url": "1"}, {"id": "b", "url": "2"}])
    assert visible_benchmarks({"p": provider.config})["p", "b"].url == "1"


def test_the_taxonomy_of_a_provider_has_the_terms_that_collections_derive() -> None:
    first = {"id": "a", "domains": ["law"], "tasks": [], "tags": ["t"]}
    provider = a_provider(benchmarks=[first, {"id": "a", "domains": ["med"]}, {"id": "b", "url": "1"}])
    assert taxonomy_of(provider.config) == {"a": {"domains": ("law",)}}


def test_a_repeated_benchmark_without_terms_hides_those_of_the_later_one() -> None:
    assert taxonomy_of(a_provider(benchmarks=[{"id": "a"}, {"id": "a", "tasks": ["qa"]}]).config) == {}


def test_unknown_members_are_distinguished() -> None:
    config = a_collection(benchmarks=[*TWO, {"id": "a", "provider_id": "q"}]).config
    assert [(m.provider_id, m.id) for m in unknown_members(config, TAXED)] == [("q", "a")]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(["fin", "law", "med"], ()), ([], ()), (["law", "fin"], ("law", "fin")), (["z"], ("z",))],
)
def test_a_derived_list_that_is_sent_back_stays_derived(sent: list[str], kept: tuple[str, ...]) -> None:
    record = a_collection(TAXED, benchmarks=TWO)
    config = read_collection(as_json(collection_document(benchmarks=TWO, domains=sent)))
    assert replace_collection(record, config, TAXED, LATER).config.domains == kept


def test_other_members_give_other_lists_even_if_the_old_ones_are_sent_back() -> None:
    record = a_collection(TAXED, benchmarks=TWO)
    sent = collection_document(benchmarks=[{"id": "c", "provider_id": "p"}], domains=["fin", "law", "med"])
    replaced = replace_collection(record, read_collection(as_json(sent)), TAXED, LATER)
    assert shown(replaced) == ["other"]
    assert resource_labels(replaced)["domains"] == ("other",)
