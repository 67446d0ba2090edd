"""The catalogue of the released server: every id with its names, numbers and thresholds, and every collection.

``tests/fixtures/released_catalogue.json`` has the facts of its files; descriptions are not among them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.engine.resource_store import SystemResources
from evalhub_server.models.provider import ProviderBenchmark

RELEASED: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[1] / "fixtures" / "released_catalogue.json").read_text("utf-8")
)
PROVIDERS: list[dict[str, Any]] = RELEASED["providers"]
COLLECTIONS: list[dict[str, Any]] = RELEASED["collections"]


ADAPTERS_NAMES = {
    ("deepeval", name)
    for name in (
        "relevancy",
        "conversation-completeness",
        "knowledge-retention",
        "role-adherence",
        "task-completion",
        "tool-correctness",
        "argument-correctness",
        "pii-leakage",
    )
}
"""Ids that the adapters of the community know, of benchmarks that are listed under the framework's own names."""


def plain(value: msgspec.Struct) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(value))


def bundled(catalog: SystemResources, provider_id: str) -> dict[str, ProviderBenchmark]:
    return {benchmark.id: benchmark for benchmark in catalog.providers[provider_id].benchmarks}


@pytest.mark.parametrize("released", PROVIDERS, ids=lambda released: released["id"])
def test_every_benchmark_keeps_its_name_numbers_and_threshold(
    catalog: SystemResources, released: dict[str, Any], subtests: Any
) -> None:
    ours = bundled(catalog, released["id"])
    for facts in released["benchmarks"]:
        with subtests.test(facts["id"]):
            found = plain(ours[facts["id"]])
            for key in ("name", "category", "num_few_shot", "dataset_size"):
                assert found.get(key) == facts.get(key, 0), key
            for key in ("metrics", "tags"):
                assert set(facts[key]) <= set(found[key]), key
            primary = facts.get("primary_score")
            assert found.get("pass_criteria") == facts.get("pass_criteria")
            assert found.get("primary_score") == (
                primary and {key: value for key, value in primary.items() if value is not False}
            )
            ranges = [each["range"] for each in found.get("agent", {}).get("score_ranges", [])]
            assert ranges == facts.get("agent_score_ranges", [])


@pytest.mark.parametrize("released", PROVIDERS, ids=lambda released: released["id"])
def test_every_provider_keeps_its_name_and_what_agents_read(
    catalog: SystemResources, released: dict[str, Any]
) -> None:
    found = catalog.providers[released["id"]]
    assert (found.name, found.title) == (released["name"], released["title"])
    assert found.agent is not None
    agent = plain(found.agent)
    for key, value in released["agent"].items():
        assert (set(value) <= set(agent[key])) if isinstance(value, list) else agent[key] == value


@pytest.mark.parametrize("released", COLLECTIONS, ids=lambda released: released["id"])
def test_every_collection_keeps_its_contents_weights_and_thresholds(
    catalog: SystemResources, released: dict[str, Any]
) -> None:
    found = plain(catalog.collections[released["id"]])
    for key in ("name", "category", "tags", "pass_criteria"):
        assert found[key] == released[key]
    for facts in released["benchmarks"]:
        facts["primary_score"] = {k: v for k, v in facts["primary_score"].items() if v is not False}
    assert found["benchmarks"] == released["benchmarks"]


def test_an_alias_means_a_task_that_its_framework_has(catalog: SystemResources) -> None:
    """Only names of the released catalogue and of adapters that the framework does not know need one."""
    aliases = {
        (provider_id, benchmark.id): benchmark.alias_of
        for provider_id, provider in catalog.providers.items()
        for benchmark in provider.benchmarks
        if benchmark.alias_of
    }
    assert aliases["inspect", "inspect/gsm8k"] == "inspect_evals/gsm8k"
    assert aliases["lm_evaluation_harness", "winogender"] == "winogender_all"
    released = {(each["id"], facts["id"]) for each in PROVIDERS for facts in each["benchmarks"]}
    assert aliases.keys() <= released | ADAPTERS_NAMES


def test_a_primary_metric_under_another_name_says_what_it_is(catalog: SystemResources) -> None:
    benchmark = bundled(catalog, "lm_evaluation_harness")["truthfulqa_mc1"]
    assert isinstance(benchmark.metric_properties, tuple)
    (found,) = [each for each in benchmark.metric_properties if each.metric == "mc1_acc"]
    assert (found.alias_of, found.sample_metric, found.range) == ("acc", "acc", (0, 1))
