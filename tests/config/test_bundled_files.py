"""The bundled files in ``config/``: completeness, consistency and size."""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest
import yaml

from evalhub_server.domain.metric_names import with_listed_names
from evalhub_server.engine.resource_store import SystemResources
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.provider import ProviderBenchmark
from evalhub_server.settings import read_yaml
from provider_sources.frameworks import SOURCES
from provider_sources.tables import Table

CONFIG = Path(__file__).resolve().parents[2] / "config"
FRAMEWORKS = {
    "deepeval",
    "garak",
    "garak-kfp",
    "guidellm",
    "ibm-clear",
    "inspect",
    "lighteval",
    "lm_evaluation_harness",
    "ragas",
}
RELEASED = json.loads((CONFIG.parent / "tests" / "fixtures" / "released_catalogue.json").read_text("utf-8"))
RELEASED_IDS = {(each["id"], facts["id"]) for each in RELEASED["providers"] for facts in each["benchmarks"]}
COLLECTIONS = {
    "chat-quick-v1",
    "chat-v1",
    "coding-v1",
    "instruction-following-v1",
    "leaderboard-v2",
    "long-context-v1",
    "model-validation",
    "open-telco-v1",
    "quickstart-v1",
    "reasoning-v1",
    "safety-and-fairness-v1",
    "standard-llm-evals-v1",
    "toxicity-and-ethical-principles",
}


def every_benchmark(catalog: SystemResources) -> list[tuple[str, ProviderBenchmark]]:
    return [
        (provider_id, benchmark)
        for provider_id, config in catalog.providers.items()
        for benchmark in config.benchmarks
    ]


def test_every_file_loads_without_a_warning(catalog: SystemResources) -> None:
    assert set(catalog.providers) == FRAMEWORKS | {"quickstart"}
    assert set(catalog.collections) == COLLECTIONS


def test_a_list_of_tasks_has_the_benchmarks_of_its_provider(catalog: SystemResources) -> None:
    for file in (CONFIG / "tasks").iterdir():
        names = file.read_text("utf-8").splitlines()
        assert names == sorted(set(names))
        provider = catalog.providers[file.stem]
        assert provider.any_benchmark
        others = {benchmark.id for benchmark in provider.benchmarks} - set(names)
        assert others <= {name for provider_id, name in RELEASED_IDS if provider_id == file.stem}
    assert {file.stem for file in (CONFIG / "tasks").iterdir()} == {
        provider_id for provider_id, provider in catalog.providers.items() if provider.any_benchmark
    }


@pytest.mark.parametrize("kind", ["providers", "collections"])
def test_a_file_is_named_after_its_id(kind: str) -> None:
    for file in (CONFIG / kind).iterdir():
        assert read_yaml(file)["id"] == file.stem


def test_ids_are_unique_within_a_provider(catalog: SystemResources) -> None:
    counts = Counter((provider_id, benchmark.id) for provider_id, benchmark in every_benchmark(catalog))
    assert [key for key, count in counts.items() if count > 1] == []


def test_lm_evaluation_harness_has_a_broad_choice_of_benchmarks(catalog: SystemResources) -> None:
    listed = catalog.providers["lm_evaluation_harness"].benchmarks
    assert 360 <= len(listed) <= 400
    assert {b.id for b in listed} >= {"arc_easy", "mmlu", "gsm8k", "hellaswag", "truthfulqa_mc2"}


def test_the_primary_metric_of_each_quickstart_benchmark_has_a_range(catalog: SystemResources) -> None:
    for benchmark in catalog.providers["quickstart"].benchmarks:
        assert isinstance(benchmark.metric_properties, tuple)
        assert isinstance(benchmark.primary_score, PrimaryScore)
        declared = {each.metric: each for each in benchmark.metric_properties}
        assert declared[benchmark.primary_score.metric].range == (0, 1)
        assert isinstance(benchmark.metrics, tuple)
        assert declared.keys() <= set(benchmark.metrics)


def test_properties_are_of_metrics_that_the_benchmark_reports(catalog: SystemResources) -> None:
    for provider_id, benchmark in every_benchmark(catalog):
        if benchmark.metric_properties is not msgspec.UNSET:
            assert benchmark.metrics is not msgspec.UNSET
            for each in benchmark.metric_properties:
                assert each.metric in benchmark.metrics, (provider_id, benchmark.id)
                assert not each.alias_of or each.alias_of in benchmark.metrics, (provider_id, benchmark.id)


def test_every_benchmark_states_what_it_requires(catalog: SystemResources) -> None:
    unstated = [
        (provider_id, benchmark.id)
        for provider_id, benchmark in every_benchmark(catalog)
        if not benchmark.requires and provider_id != "lighteval"  # some metrics do not tell
    ]
    assert unstated == []


def test_a_generating_twin_needs_chat_completions_only(catalog: SystemResources) -> None:
    known = {(provider_id, benchmark.id): benchmark for provider_id, benchmark in every_benchmark(catalog)}
    twins = {
        (provider_id, benchmark.id): known[provider_id, benchmark.generating_twin].requires
        for provider_id, benchmark in every_benchmark(catalog)
        if benchmark.generating_twin
    }
    assert set(twins.values()) == {("chat",)}
    assert twins.keys() >= {
        ("lm_evaluation_harness", name) for name in ("mmlu", "arc_challenge", "truthfulqa_mc1")
    }


@pytest.mark.parametrize("collection_id", ["chat-v1", "chat-quick-v1"])
def test_collections_for_chat_endpoints_need_nothing_else(
    catalog: SystemResources, collection_id: str
) -> None:
    known = {(provider_id, benchmark.id): benchmark for provider_id, benchmark in every_benchmark(catalog)}
    members = [(each.provider_id, each.id) for each in catalog.collections[collection_id].benchmarks]
    assert {known[member].requires for member in members} == {("chat",)}
    assert {name for _, name in members} == {"mmlu_generative", "gsm8k", "ifeval", "arc_challenge_chat"}


def test_the_primary_metric_names_the_filter_that_finds_answers_of_chat_models(
    catalog: SystemResources,
) -> None:
    listed = {benchmark.id: benchmark for benchmark in catalog.providers["lm_evaluation_harness"].benchmarks}
    for name, expected in (("gsm8k", "flexible-extract"), ("mmlu_generative", "get_response")):
        properties = listed[name].metric_properties
        assert isinstance(properties, tuple)
        assert [(each.metric, each.filter) for each in properties] == [("exact_match", expected)]


def test_each_profile_of_guidellm_runs_itself(catalog: SystemResources) -> None:
    for benchmark in catalog.providers["guidellm"].benchmarks:
        assert isinstance(benchmark.default_parameters, dict)
        profile = benchmark.default_parameters["profile"]
        assert profile == benchmark.id or benchmark.id.endswith("_perf_test")
        if profile in ("constant", "poisson", "concurrent", "throughput"):
            assert benchmark.default_parameters["rate"] > 0
        assert benchmark.metrics is not msgspec.UNSET
        assert {"mean_ttft_ms", "mean_itl_ms"} <= set(benchmark.metrics)


def test_parameters_name_what_adapters_do_not_take_from_the_id(catalog: SystemResources) -> None:
    """Otherwise an adapter of the community runs its defaults, or everything."""
    for benchmark in catalog.providers["ibm-clear"].benchmarks:
        assert isinstance(benchmark.default_parameters, dict)
        assert benchmark.default_parameters["task"], benchmark.id
    computed = [b for b in catalog.providers["ragas"].benchmarks if b.default_parameters is not msgspec.UNSET]
    for benchmark in computed:
        assert isinstance(benchmark.default_parameters, dict)
        assert isinstance(benchmark.metrics, tuple)
        assert set(benchmark.default_parameters["metrics"]) <= set(benchmark.metrics)
    assert {"ragas_rag_default", "ragas_rag_full", "answer_accuracy"} < {each.id for each in computed}
    families = {
        benchmark.id: benchmark.default_parameters
        for benchmark in catalog.providers["garak"].benchmarks
        if benchmark.default_parameters is not msgspec.UNSET
    }
    assert families == {name: {"probes": name} for name in families}
    assert "dan" in families


def test_metrics_of_lighteval_are_found_under_the_names_of_its_adapter(catalog: SystemResources) -> None:
    """What is reported for a benchmark without subsets: the task's metrics, and their means."""
    reported = {"hellaswag|0.em": 0.5, "all.em": 0.5, "all.em_stderr": 0.1}
    listed = {benchmark.id: benchmark for benchmark in catalog.providers["lighteval"].benchmarks}
    properties = listed["hellaswag"].metric_properties
    assert isinstance(properties, tuple)
    found = with_listed_names(reported, properties)
    assert found == reported | {
        f"{name}{end}": value
        for name in ("acc", "acc_norm", "em")
        for end, value in (("", 0.5), ("_stderr", 0.1))
    }


def test_every_benchmark_has_a_description(catalog: SystemResources) -> None:
    for provider_id, benchmark in every_benchmark(catalog):
        assert benchmark.metrics, (provider_id, benchmark.id)
        assert benchmark.category, (provider_id, benchmark.id)
        assert benchmark.name, (provider_id, benchmark.id)
        assert benchmark.description, (provider_id, benchmark.id)
        assert isinstance(benchmark.metrics, tuple)
        assert all(benchmark.metrics), (provider_id, benchmark.id)
        assert len(set(benchmark.metrics)) == len(benchmark.metrics), (provider_id, benchmark.id)


def test_a_primary_score_is_among_the_metrics(catalog: SystemResources) -> None:
    for provider_id, benchmark in every_benchmark(catalog):
        if benchmark.primary_score is not msgspec.UNSET:
            assert benchmark.metrics is not msgspec.UNSET
            assert benchmark.primary_score.metric in benchmark.metrics, (provider_id, benchmark.id)


def test_thresholds_are_fractions_and_belong_to_a_primary_score(catalog: SystemResources) -> None:
    for provider_id, benchmark in every_benchmark(catalog):
        if benchmark.pass_criteria is not msgspec.UNSET and (provider_id, benchmark.id) not in RELEASED_IDS:
            assert benchmark.primary_score is not msgspec.UNSET, (provider_id, benchmark.id)
            threshold = benchmark.pass_criteria.threshold
            assert threshold is not None
            assert 0 < threshold <= 1, (provider_id, benchmark.id)


def test_collections_name_only_benchmarks_that_exist(catalog: SystemResources) -> None:
    known = {(provider_id, benchmark.id) for provider_id, benchmark in every_benchmark(catalog)}
    for collection_id, collection in catalog.collections.items():
        members = [(member.provider_id, member.id) for member in collection.benchmarks]
        assert [member for member in members if member not in known] == [], collection_id
        assert len(set(members)) == len(members), collection_id


def test_every_collection_can_get_a_score(catalog: SystemResources) -> None:
    """A member without a primary score and a threshold does not count; at least half must."""
    known = {(provider_id, benchmark.id): benchmark for provider_id, benchmark in every_benchmark(catalog)}
    for collection_id, collection in catalog.collections.items():
        members = [known[member.provider_id, member.id] for member in collection.benchmarks]
        counting = [b for b in members if b.pass_criteria is not msgspec.UNSET]
        assert len(counting) * 2 > len(members), collection_id
        assert collection.pass_criteria is not None
        threshold = collection.pass_criteria.threshold
        assert threshold is not None
        assert 0 < threshold < 1 or collection_id == "leaderboard-v2"  # in percent, as released


def test_an_override_names_a_metric_of_its_benchmark(catalog: SystemResources) -> None:
    known = {(provider_id, benchmark.id): benchmark for provider_id, benchmark in every_benchmark(catalog)}
    for collection in catalog.collections.values():
        for member in collection.benchmarks:
            metrics = known[member.provider_id, member.id].metrics
            assert metrics is not msgspec.UNSET
            assert member.primary_score is None or member.primary_score.metric in metrics


def test_providers_with_an_adapter_of_this_project_run_locally(catalog: SystemResources) -> None:
    local = {
        provider_id: config.runtime["local"]
        for provider_id, config in catalog.providers.items()
        if "local" in config.runtime
    }
    assert local.keys() == {"quickstart", "lm_evaluation_harness", "inspect", "garak"}
    for provider_id in local.keys() - {"quickstart"}:
        assert local[provider_id]["environment"] == provider_id
        module = local[provider_id]["command"].removeprefix(
            "python -P -m "
        )  # without the job directory on sys.path
        assert importlib.util.find_spec(module) is not None
    assert {provider_id for provider_id, config in catalog.providers.items() if "k8s" in config.runtime} == (
        FRAMEWORKS
    )


@pytest.mark.parametrize("provider_id", sorted(FRAMEWORKS))
def test_a_generated_file_names_its_framework_version_and_licence(provider_id: str) -> None:
    header = (CONFIG / "providers" / f"{provider_id}.yaml").read_text("utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert re.search(r"from [\w-]+ \d+\.\d+", header)
    assert re.search(r"licence (MIT|Apache-2\.0)\.", header)


@pytest.mark.parametrize("provider_id", sorted(SOURCES))
def test_the_bundled_file_has_the_current_head(provider_id: str) -> None:
    """Edits of a head without a new run of the script, or of its output, would have no effect or be lost."""
    bundled = (CONFIG / "providers" / f"{provider_id}.yaml").read_text("utf-8")
    assert Table.load(provider_id).head.strip() in bundled


def test_the_number_of_values_is_limited() -> None:
    """Parsing takes some microseconds per value at start-up."""
    texts = [file.read_text("utf-8") for file in CONFIG.rglob("*.yaml")]
    assert sum(len(text) for text in texts) < 455_000
    events = [event for text in texts for event in yaml.parse(text, yaml.CSafeLoader)]
    assert sum(isinstance(event, yaml.ScalarEvent) for event in events) < 35_000
