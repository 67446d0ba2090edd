"""Readers of the frameworks' registries, with small registries as input."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import provider_sources.released
import refresh_providers
from provider_sources.frameworks import (
    clear,
    deepeval,
    garak,
    guidellm,
    inspect_evals,
    lighteval,
    lm_eval,
    ragas,
)
from provider_sources.model import Benchmark, Framework, Metric, readable, starting_threshold
from provider_sources.output import provider_file
from provider_sources.released import with_released
from provider_sources.tables import Table
from provider_sources.wheel import Wheel


def wheel(files: dict[str, str]) -> Wheel:
    return Wheel(version="1.2", files=files)


LM_EVAL = wheel(
    {
        "lm_eval/tasks/toy/adding.yaml": """
        task: adding
        tag: toys
        include: shared.yaml
        dataset_name: sums
        metric_list:
          - metric: !function tools.close_enough
            higher_is_better: true
          - metric: error
            higher_is_better: false
        """,
        "lm_eval/tasks/toy/answering.yaml": """
        task: answering
        include: _template
        filter_list: [{name: strict}, {name: flexible-extract}]
        metric_list: [{metric: exact_match}, {metric: error, aggregation: perplexity}]
        """,
        "lm_eval/tasks/toy/_template": "{dataset_path: us/toys, output_type: generate_until, unsafe_code: true}",
        "lm_eval/tasks/toy/README": "not: [YAML",
        "lm_eval/tasks/toy/shared.yaml": "{dataset_path: us/toys, num_fewshot: 3, output_type: generate_until}",
        "lm_eval/tasks/toy/choosing.yaml": """
        {task: choosing, tag: toys, include: shared.yaml, output_type: multiple_choice, doc_to_choice: [a, b]}""",
        "lm_eval/tasks/toy/coding.yaml": "{task: coding, metric_list: [{metric: !function u.pass_at_k , k: [1, 5]}]}",
        "lm_eval/tasks/toy/group.yaml": """
        group: all_toys
        task: [choosing, {group: inner, task: [adding]}]
        aggregate_metric_list: [{metric: acc, weight_by_size: true}]
        """,
        "lm_eval/tasks/toy/loose.yaml": "{group: loose, task: [toys]}",
        "lm_eval/api/metrics.py": """
@register_metric(metric="acc", higher_is_better=True)
def acc(items): ...
@register_metric(metric="error", higher_is_better=False)
def error(items): ...
""",
        "lm_eval/api/registry.py": 'DEFAULT_METRIC_REGISTRY = {"multiple_choice": ["acc"], "generate_until": ["exact_match"]}',
    }
)


def read_lm_eval(*names: str, **corrections: dict[str, str]) -> list[Benchmark]:
    return lm_eval.read({"lm_eval": LM_EVAL}, Table(categories={"toys": list(names)}, **corrections))  # pyright: ignore[reportArgumentType]


def test_a_task_merges_its_includes_and_names_its_functions() -> None:
    [adding] = read_lm_eval("adding")
    assert adding.metrics == ("close_enough", "error")
    assert (adding.few_shot, adding.category) == (3, "toys")
    assert adding.description == "Free generation on the data set us/toys (sums)."
    assert (adding.primary, adding.lower_is_better, adding.threshold) == ("close_enough", False, None)


def test_a_metric_can_be_better_when_lower() -> None:
    [adding] = read_lm_eval("adding", primary={"adding": "error"})
    assert (adding.primary, adding.lower_is_better) == ("error", True)


def test_a_task_without_metrics_has_those_of_its_kind() -> None:
    [choosing] = read_lm_eval("choosing")
    assert choosing.metrics == ("acc",)
    assert choosing.threshold == 0.65, "guessing between two gives half"
    assert choosing.entry()["chance_level"] == 0.5


def test_a_function_with_several_k_reports_one_metric_each() -> None:
    assert read_lm_eval("coding")[0].metrics == ("pass@1", "pass@5")


def test_a_group_has_what_it_aggregates() -> None:
    [group] = read_lm_eval("all_toys")
    assert (group.metrics, group.few_shot) == (("acc",), 3)
    assert "chance_level" not in group.entry()
    assert group.description == "Mixed tasks on the data set us/toys; mean over 2 tasks."


def test_what_a_task_requires_follows_from_its_kind() -> None:
    adding, choosing, group = read_lm_eval("adding", "choosing", "all_toys")
    assert (adding.requires, choosing.requires) == (("chat",), ("prompt_logprobs",))
    assert group.requires == ("chat", "prompt_logprobs")
    assert (adding.groups, group.groups) == ("", "strata")


def test_metrics_have_the_filter_and_the_aggregation_of_the_task() -> None:
    [answering] = read_lm_eval("answering")
    assert [metric.entry() for metric in answering.properties] == [
        {"metric": "exact_match", "range": [0, 1], "filter": "flexible-extract"},
        {"metric": "error", "aggregation": "other", "lower_is_better": True, "filter": "flexible-extract"},
    ]
    assert answering.description.endswith("Runs code that the model writes.")
    [strict] = read_lm_eval("answering", filters={"answering": "strict"})
    assert strict.properties[0].filter == "strict"
    with pytest.raises(KeyError, match="answering has no filter 'gone'"):
        read_lm_eval("answering", filters={"answering": "gone"})


def test_all_names_of_the_harness_are_known() -> None:
    names = {"adding", "choosing", "coding", "answering", "all_toys", "loose", "toys"}
    assert lm_eval.tasks({"lm_eval": LM_EVAL}) == names


@pytest.mark.parametrize("name", ["missing", "loose"])
def test_a_name_without_a_score_stops_the_script(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        read_lm_eval(name)


def test_lighteval_joins_subsets_that_are_scored_alike() -> None:
    files = wheel(
        {
            "lighteval/metrics/metrics.py": """
class Metrics(Enum):
    right = SampleLevelMetric(
        metric_name="acc", higher_is_better=True, category=SamplingMethod.LOGPROBS, corpus_level_fn=np.mean
    )
    both = SampleLevelMetricGrouping(metric_name=["p", "r"], higher_is_better={"p": True, "r": False})
""",
            "lighteval/tasks/tasks/toy.py": '''
"""
name:
Toy

tags:
math, toys

paper:
https://example.org/toy
"""
one = LightevalTaskConfig(name="toy:one", metrics=[Metrics.right], hf_repo="us/toy")
two = LightevalTaskConfig(name="toy:two", metrics=[Metrics.right], hf_repo="us/toy")
mixed = LightevalTaskConfig(name="mix:a", metrics=[Metrics.both])
other = LightevalTaskConfig(name="mix:b", metrics=[Metrics.right(sample_params={"k": 1})])
looped = [LightevalTaskConfig(name=f"loop:{x}", metrics=[Metrics.right]) for x in "ab"]
unknown = LightevalTaskConfig(name="unknown", metrics=[elsewhere])
normal = LightevalTaskConfig(name="normal", metrics=[Metrics.right(sample_params={"f": function})])
''',
        }
    )
    found = {b.id: b for b in lighteval.read({"lighteval": files}, Table(categories={"math": ["math"]}))}
    assert {name: b.metrics for name, b in found.items()} == {
        "loop": ("acc",),
        "mix:a": ("p", "r"),
        "mix:b": ("acc:k=1",),
        "toy": ("acc",),
    }
    toy = found["toy"]
    assert (toy.category, toy.url, toy.tags) == ("math", "https://example.org/toy", ("math", "toys"))
    assert toy.description == "Scored by acc on the data set us/toy; 2 subsets."
    assert (toy.requires, toy.groups) == (("prompt_logprobs",), "strata")
    assert [metric.entry() for metric in toy.properties] == [{"metric": "acc", "range": [0, 1]}]
    assert [metric.entry() for metric in found["mix:a"].properties] == [
        {"metric": "p", "aggregation": "other"},
        {"metric": "r", "aggregation": "other", "lower_is_better": True},
    ]


def test_garak_joins_the_probes_of_a_module() -> None:
    index = {
        "probes": {
            "probes.base.Probe": {"active": True},
            "probes.tricks.A": {
                "active": True,
                "tags": ["owasp:llm01", "quality:x"],
                "DEFAULT_PARAMS": {"red_team_model_name": "m"},
                "modality": {"in": ["text"]},
            },
            "probes.tricks.B": {"active": False, "tags": [], "modality": {"in": ["image", "text"]}},
        }
    }
    files = wheel({"garak/resources/plugin_cache.json": json.dumps(index)})
    [tricks] = garak.read({"garak": files}, Table(skip=["base"], categories={"jailbreak": ["tricks"]}))
    assert (tricks.id, tricks.category, tricks.lower_is_better) == ("tricks", "jailbreak", True)
    assert tricks.description.startswith(
        "garak's probes of the family tricks: 2 in all, 1 active by default."
    )
    assert (tricks.tags, tricks.modalities) == (("owasp-llm01",), ("image", "text"))
    assert tricks.requires == ("chat", "judge")
    assert tricks.defaults == {"probes": "tricks"}
    assert garak.tasks({"garak": files}) == {"tricks", "tricks.A", "tricks.B"}
    assert garak.read_pipelines({"garak": files}, Table()) == []


def test_inspect_follows_a_task_to_the_metrics_of_its_scorers() -> None:
    files = wheel(
        {
            "inspect_evals/toy/eval.yaml": """
            title: 'Toy: a toy'
            group: Coding
            arxiv: https://example.org/toy
            tasks: [{name: direct, dataset_samples: 7}, {name: own}, {name: through}, {name: opaque}, {name: spread}]
            metadata: {sandbox: [solver]}
            """,
            "inspect_evals/toy/toy.py": """
@task
def direct():
    return Task(scorer=choice())
@task
def own():
    scorer = mine()
    return Task(scorer=scorer)
@task
def through():
    return base(1)
def base(x):
    return Task(scorer=[choice(), mine()], metrics=[special()])
@task
def opaque():
    return Task(scorer=elsewhere.made())
@task
def spread():
    return Task(scorer=spreading())
@scorer(metrics=[mean(), grouped(mean(), "x")])
def mine():
    return mine_helped()
def mine_helped():
    return mine_helped() or get_model(role="grader")
@scorer(metrics=[stderr()])
def spreading(): ...
""",
        }
    )
    builtin = wheel(
        {"inspect_ai/scorer/choice.py": "@scorer(metrics=[accuracy(), stderr()])\ndef choice(): ..."}
    )
    found = inspect_evals.read(
        {"inspect-evals": files, "inspect-ai": builtin},
        Table(categories={"code": ["Coding"]}, judged=["through"]),
    )
    assert {b.id: b.metrics for b in found} == {
        "inspect_evals/direct": ("accuracy", "stderr"),
        "inspect_evals/own": ("mean",),
        "inspect_evals/through": ("special",),
    }
    direct = found[0]
    assert (direct.name, direct.category, direct.dataset_size) == ("Toy (direct)", "code", 7)
    assert (direct.primary, direct.threshold, found[1].primary) == ("accuracy", 0.5, "")
    assert "sandbox" in direct.description
    assert direct.requires == ("chat", "sandbox")
    assert {each.requires for each in found[1:]} == {("chat", "sandbox", "judge")}
    assert [metric.entry() for metric in direct.properties] == [{"metric": "accuracy", "range": [0, 1]}]
    assert inspect_evals.tasks({"inspect-evals": files}) >= {"inspect_evals/direct", "inspect_evals/spread"}


def test_inspect_sets_no_threshold_where_high_may_be_bad() -> None:
    files = wheel(
        {
            "inspect_evals/toy/eval.yaml": "{title: Toy, group: Scheming, tasks: [{name: toy}]}",
            "inspect_evals/toy/toy.py": "@task\ndef toy():\n    return Task(scorer=s(), metrics=[accuracy()])",
        }
    )
    [toy] = inspect_evals.read(
        {"inspect-evals": files, "inspect-ai": wheel({})}, Table(no_verdict=["Scheming"])
    )
    assert (toy.metrics, toy.primary, toy.threshold) == (("accuracy",), "", None)


def test_ragas_reads_names_ranges_and_directions() -> None:
    files = wheel(
        {
            "ragas/metrics/collections/__init__.py": '__all__ = ["Noise", "Rubric", "RubricToo", "Nameless"]',
            "ragas/metrics/collections/m.py": '''
class Noise(BaseMetric):
    """Score range (0.0 to 1.0, lower is better)"""
    def __init__(self, llm, name: str = "noise", **more): ...
    async def ascore(self, question, answer): ...
class Rubric(BaseMetric):
    def __init__(self, name="rubric"):
        super().__init__(name=name, allowed_values=(1.0, 5.0))
class RubricToo(Rubric):
    def __init__(self, llm):
        super().__init__(llm, name="rubric_too")
class Nameless(BaseMetric): ...
class Private(BaseMetric):
    def __init__(self, name="private"): ...
''',
        }
    )
    noise, rubric, too = ragas.read({"ragas": files}, Table())
    assert (noise.id, noise.lower_is_better, noise.threshold) == ("noise", True, 0.2)
    assert (noise.requires, rubric.requires) == (("judge", "data"), ("data",))
    assert rubric.properties[0].range == (1, 5)
    assert noise.description == "Score between 0 and 1, computed from question, answer. Lower is better."
    assert (rubric.threshold, too.id, too.threshold) == (None, "rubric_too", None)
    assert too.description == "Score between 1 and 5."
    assert too.defaults == {}


def test_ragas_names_the_metrics_that_its_adapter_computes() -> None:
    files = wheel(
        {
            "ragas/metrics/collections/__init__.py": '__all__ = ["AnswerAccuracy"]',
            "ragas/metrics/collections/m.py": """
class AnswerAccuracy(BaseMetric):
    def __init__(self, llm, name: str = "answer_accuracy"): ...
""",
        }
    )
    [found] = ragas.read({"ragas": files}, Table())
    accuracy = found.reported(ragas.FRAMEWORK.reported)
    assert accuracy.defaults == {"metrics": ["nv_accuracy"]}
    assert accuracy.metrics == ("answer_accuracy", "nv_accuracy")
    assert accuracy.primary == "answer_accuracy"
    assert [metric.entry() for metric in accuracy.properties] == [
        {"metric": "answer_accuracy", "range": [0, 1], "alias_of": "nv_accuracy"}
    ]


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("em", "all.em"),
        ("pass@k:k=1&n=4", "all.pass@1"),
        ("math-g-pass@k:k=16&n=48", "all.math-g-pass@16"),
        ("avg@n:n=64", "all.avg@n:n=64"),
        ("codegen_pass@1:16", "all.codegen_pass@1"),
        ("em:strip_strings=False", "all.em:strip_strings=False"),
    ],
)
def test_lightevals_adapter_has_its_own_names_of_metrics(metric: str, name: str) -> None:
    assert lighteval.reported(metric) == name


def test_a_metric_with_the_name_of_the_framework_needs_no_other() -> None:
    made = benchmark()
    assert made.reported(str) == made
    listed = replace(made, metrics=("acc", "em"), properties=(Metric.named("acc", alias_of="em"),))
    found = listed.reported(lighteval.reported)
    assert found.metrics == ("acc", "em", "all.em")
    assert [metric.entry() for metric in found.properties] == [
        {"metric": "acc", "range": [0, 1], "sample_metric": "em", "alias_of": "em"},
        {"metric": "em", "range": [0, 1], "alias_of": "all.em"},
    ]


DEEPEVAL = wheel(
    {
        "deepeval/metrics/__init__.py": '__all__ = ["PIILeakMetric", "Other"]',
        "deepeval/metrics/pii.py": """
class PIILeakMetric(BaseMetric):
    _required_params: List[P] = [P.INPUT, P.ACTUAL_OUTPUT]
    def __init__(self, threshold: Optional[float] = 0.4, model=None): ...
""",
    }
)


def test_deepeval_takes_the_default_threshold() -> None:
    table = Table(categories={"safety": ["pii_leak"]}, also={"pii-leak": "pii_leak"})
    leak, also, correctness = deepeval.read({"deepeval": DEEPEVAL}, table)
    assert (also.id, also.alias_of, also.primary) == ("pii-leak", "pii_leak", "pii_leak_score")
    assert (correctness.id, correctness.metrics) == ("correctness", ("correctness_score",))
    assert (leak.id, leak.category, leak.threshold) == ("pii_leak", "safety", 0.4)
    assert (leak.primary, leak.requires) == ("pii_leak_score", ("judge", "data"))
    assert leak.description == "DeepEval's PIILeakMetric, computed from input, actual_output. 1 is best."


def test_a_metric_of_the_table_that_deepeval_lacks_is_an_error() -> None:
    with pytest.raises(KeyError, match="gone"):
        deepeval.read({"deepeval": DEEPEVAL}, Table(categories={"safety": ["gone"]}))


def test_guidellm_joins_profiles_and_metrics() -> None:
    files = wheel(
        {
            "guidellm/benchmark/profiles/p.py": """
@ProfileFactory.register(["steady", "alias"])
class Steady(Profile): ...
@dataclass
class Helper: ...
""",
            "guidellm/benchmark/schemas/metrics.py": """
class GenerativeMetrics:
    requests_per_second: StatusDistributionSummary = Field()
    prompt_tokens_per_second: StatusDistributionSummary = Field()
    output_tokens_per_second: StatusDistributionSummary = Field()
    time_to_first_token_ms: StatusDistributionSummary = Field()
    inter_token_latency_ms: StatusDistributionSummary = Field()
    maybe: StatusDistributionSummary | None = None
""",
        }
    )
    [steady] = guidellm.read({"guidellm": files}, Table(skip=["alias"], primary={"steady": "mean_ttft_ms"}))
    assert {"requests_per_second", "mean_ttft_ms", "mean_itl_ms"} <= set(steady.metrics)
    assert (steady.lower_is_better, steady.threshold) == (True, None)
    assert (steady.defaults, steady.requires) == ({"profile": "steady"}, ("chat",))


def test_guidellm_stops_if_a_field_that_the_adapter_reads_is_gone() -> None:
    files = wheel({"guidellm/benchmark/schemas/metrics.py": "class GenerativeMetrics: ..."})
    with pytest.raises(KeyError, match="time_to_first_token_ms"):
        guidellm.read({"guidellm": files}, Table())


def test_tasks_of_clear_are_read() -> None:
    files = wheel(
        {
            "clear_eval/pipeline/use_cases/use_case_utils.py": """
def get(name):
    if name == "math":
        return 1
    elif name == "external":
        return 2
""",
        }
    )
    [math] = clear.read({"clear-eval": files}, Table(skip=["external"]))
    assert (math.id, math.primary, math.defaults) == ("math", "average_score", {"task": "math"})
    assert {"total_issues", "issues_per_interaction", math.primary} < set(math.metrics)


TOY = Framework(provider_id="toy", package="toy", title="Toy", licence="MIT")


def benchmark(id: str = "a", primary: str = "acc") -> Benchmark:  # noqa: A002
    return Benchmark(
        id=id, description="d: e", category="c", metrics=("acc", "4096"), primary=primary, threshold=0.5
    )


def test_a_written_file_is_read_back_unchanged() -> None:
    text = provider_file(TOY, "1.2", "id: toy  # by hand\n", [benchmark(), benchmark("b", "")])
    assert text.startswith("# Generated by scripts/refresh_providers.py from toy 1.2;")
    assert "id: toy  # by hand" in text
    assert yaml.safe_load(text) == {
        "id": "toy",
        "benchmarks": [
            {
                "id": "a",
                "name": "A",
                "description": "d: e",
                "category": "c",
                "metrics": ["acc", "4096"],
                "primary_score": {"metric": "acc"},
                "pass_criteria": {"threshold": 0.5},
            },
            {"id": "b", "name": "B", "description": "d: e", "category": "c", "metrics": ["acc", "4096"]},
        ],
    }


def test_equal_properties_of_metrics_are_written_once() -> None:
    properties = (Metric.named("acc"), Metric(name="loss", mean=False, lower_is_better=True))
    first = replace(benchmark(), properties=properties, defaults={"rate": 1}, twin="b")
    text = provider_file(TOY, "1.2", "id: toy", [first, replace(first, id="b")])
    assert "metric_properties: &acc-loss\n" in text
    assert "metric_properties: *acc-loss\n" in text
    assert "\n\n  - id: b\n" in text
    a, b = yaml.safe_load(text)["benchmarks"]
    assert a["metric_properties"] == b["metric_properties"]
    assert a["metric_properties"][0] == {"metric": "acc", "range": [0, 1]}
    assert (a["default_parameters"], a["generating_twin"]) == ({"rate": 1}, "b")


FACTS: dict[str, Any] = {
    "name": "Old",
    "category": "old",
    "metrics": ["right", "f1"],
    "tags": ["t"],
    "primary_score": {"metric": "right", "lower_is_better": False},
    "pass_criteria": {"threshold": 0.25},
    "agent_score_ranges": ["0.0-0.25", "0.25", "0.25+", "0.2-0.5", "0.1"],
}


def released(
    monkeypatch: pytest.MonkeyPatch, *benchmarks: Benchmark, table: Table, **ids: Any
) -> list[Benchmark]:
    facts = [{**FACTS, "id": id_.replace("_", "-"), **changes} for id_, changes in ids.items()]
    monkeypatch.setattr(provider_sources.released, "released_benchmarks", lambda _: facts)
    return with_released("toy", benchmarks, table)


def test_a_released_benchmark_keeps_its_numbers_beside_what_is_derived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = replace(
        benchmark("a"),
        properties=(Metric(name="acc", range=(0, 1)), Metric(name="4096")),
        lower_is_better=True,
        requires=("chat",),
    )
    table = Table(metric_aliases={"right": ["acc"]}, twins={"a": "b"}, defaults={"a": {"n": 1}})
    a, b = released(monkeypatch, own, benchmark("b"), table=table, a={})
    assert (a.name, a.category, a.metrics) == ("Old", "old", ("right", "f1", "acc", "4096"))
    assert (a.primary, a.lower_is_better, a.threshold) == ("right", False, 0.25)
    assert (a.requires, a.twin, a.defaults) == (("chat",), "b", {"n": 1})
    assert [metric.entry() for metric in a.properties if metric.entry()] == [
        {"metric": "right", "range": [0, 1], "sample_metric": "acc", "alias_of": "acc"},
        {"metric": "f1", "range": [0, 1]},
        {"metric": "acc", "range": [0, 1], "lower_is_better": True},
    ]
    assert [meaning for _, meaning in a.score_ranges] == [
        "below the default threshold: does not pass",
        "the default threshold itself",
        "above the default threshold: passes",
        "around the default threshold",
        "near the default threshold",
    ]
    assert b == benchmark("b")


def test_released_ids_that_the_framework_lacks_are_aliases_or_described(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(aliases={"x-a": "a", "y": "unlisted"}, descriptions={"y": "D."}, requires={"y": ["data"]})
    lower = {"primary_score": {"metric": "right", "lower_is_better": True}}
    _, alias, described = released(monkeypatch, benchmark("a"), table=table, x_a={}, y=lower)
    assert (alias.id, alias.alias_of, alias.description) == ("x-a", "a", "Another name of a. d: e")
    assert (described.alias_of, described.requires) == ("unlisted", ("data",))
    assert [meaning for _, meaning in described.score_ranges][:3] == [
        "below the default threshold: passes",
        "the default threshold itself",
        "above the default threshold: does not pass",
    ]
    with pytest.raises(KeyError, match="'z': neither"):
        released(monkeypatch, table=Table(), z={})


def test_a_file_is_refused_with_a_benchmark_twice_or_an_unknown_primary_score() -> None:
    with pytest.raises(ValueError, match="'a' twice"):
        provider_file(TOY, "1.2", "", [benchmark(), benchmark()])
    with pytest.raises(ValueError, match="f1"):
        provider_file(TOY, "1.2", "", [benchmark(primary="f1")])


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("arc_challenge", "ARC Challenge"),
        ("the_pile", "The Pile"),
        ("goal_with_reference", "Goal with Reference"),
        ("gpqa:main", "GPQA Main"),
    ],
)
def test_names_are_readable(identifier: str, name: str) -> None:
    assert readable(identifier) == name


def test_only_fractions_have_a_starting_threshold() -> None:
    assert starting_threshold("acc") == 0.5
    assert starting_threshold("pass@k:k=1") == 0.5
    assert starting_threshold("acc", lower_is_better=True) == 0.2
    assert starting_threshold("word_perplexity", lower_is_better=True) is None


def test_the_script_writes_only_the_file_of_the_given_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def download(package: str, folder: Path) -> Path:
        path = folder / f"{package.replace('-', '_')}-1.2-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("clear_eval/pipeline/constants.py", 'SCORE_COL = "score"')
            archive.writestr("clear_eval/pipeline/use_cases/use_case_utils.py", 'x = name == "agent"')
            archive.writestr("clear_eval/picture.png", b"\x89")
        return path

    monkeypatch.setattr(refresh_providers, "download", download)
    assert refresh_providers.main(["--only", "ibm-clear", "--output", str(tmp_path)]) == 0
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")] == ["providers/ibm-clear.yaml"]
    agent, released = yaml.safe_load((tmp_path / "providers" / "ibm-clear.yaml").read_text("utf-8"))[
        "benchmarks"
    ]
    assert agent["requires"] == ["judge", "data"]
    assert (released["id"], released["alias_of"]) == ("agentic-evaluation", "agent")
    assert capsys.readouterr().out == "ibm-clear: 2 benchmarks from clear-eval 1.2\n"


def test_the_script_writes_the_names_of_all_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = {"probes": {"probes.tricks.A": {"active": True}, "probes.base.Probe": {}}}

    def download(_package: str, folder: Path) -> Path:
        path = folder / "garak-1.2-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("garak/resources/plugin_cache.json", json.dumps(index))
        return path

    monkeypatch.setattr(refresh_providers, "download", download)
    assert refresh_providers.main(["--only", "garak", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "tasks" / "garak.txt").read_text("utf-8") == "tricks\ntricks.A\n"
