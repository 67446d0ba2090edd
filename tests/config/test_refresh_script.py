"""Readers of the frameworks' registries, with small registries as input."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import yaml

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
from provider_sources.model import Benchmark, Framework, readable, starting_threshold
from provider_sources.output import provider_file
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


def test_a_function_with_several_k_reports_one_metric_each() -> None:
    assert read_lm_eval("coding")[0].metrics == ("pass@1", "pass@5")


def test_a_group_has_what_it_aggregates() -> None:
    [group] = read_lm_eval("all_toys")
    assert (group.metrics, group.few_shot) == (("acc",), 3)
    assert group.description == "Mixed tasks on the data set us/toys; mean over 2 tasks."


@pytest.mark.parametrize("name", ["missing", "loose"])
def test_a_name_without_a_score_stops_the_script(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        read_lm_eval(name)


def test_lighteval_joins_subsets_that_are_scored_alike() -> None:
    files = wheel(
        {
            "lighteval/metrics/metrics.py": """
class Metrics(Enum):
    right = SampleLevelMetric(metric_name="acc", higher_is_better=True)
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


def test_garak_joins_the_probes_of_a_module() -> None:
    index = {
        "probes": {
            "probes.base.Probe": {"active": True},
            "probes.tricks.A": {
                "active": True,
                "tags": ["owasp:llm01", "quality:x"],
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
def mine(): ...
@scorer(metrics=[stderr()])
def spreading(): ...
""",
        }
    )
    builtin = wheel(
        {"inspect_ai/scorer/choice.py": "@scorer(metrics=[accuracy(), stderr()])\ndef choice(): ..."}
    )
    found = inspect_evals.read(
        {"inspect-evals": files, "inspect-ai": builtin}, Table(categories={"code": ["Coding"]})
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
    assert noise.description == "Score between 0 and 1, computed from question, answer. Lower is better."
    assert (rubric.threshold, too.id, too.threshold) == (None, "rubric_too", None)
    assert too.description == "Score between 1 and 5."


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
    [leak] = deepeval.read({"deepeval": DEEPEVAL}, Table(categories={"safety": ["pii_leak"]}))
    assert (leak.id, leak.category, leak.threshold) == ("pii_leak", "safety", 0.4)
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
    request_latency: StatusDistributionSummary = Field()
    maybe: StatusDistributionSummary | None = None
""",
        }
    )
    [steady] = guidellm.read(
        {"guidellm": files}, Table(skip=["alias"], primary={"steady": "request_latency"})
    )
    assert steady.metrics == ("requests_per_second", "request_latency")
    assert (steady.lower_is_better, steady.threshold) == (True, None)


def test_tasks_of_clear_are_read() -> None:
    files = wheel(
        {
            "clear_eval/pipeline/constants.py": 'SCORE_COL = "points"',
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
    assert (math.id, math.metrics, math.primary) == ("math", ("points",), "points")


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
            archive.writestr("clear_eval/pipeline/use_cases/use_case_utils.py", 'x = name == "math"')
            archive.writestr("clear_eval/picture.png", b"\x89")
        return path

    monkeypatch.setattr(refresh_providers, "download", download)
    assert refresh_providers.main(["--only", "ibm-clear", "--output", str(tmp_path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["ibm-clear.yaml"]
    written = yaml.safe_load((tmp_path / "ibm-clear.yaml").read_text("utf-8"))
    assert [b["id"] for b in written["benchmarks"]] == ["math"]
    assert capsys.readouterr().out == "ibm-clear: 1 benchmarks from clear-eval 1.2\n"
