"""One benchmark of a framework's registry, and its entry in a provider file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

#: Metrics that are fractions between 0 and 1. Only these get a threshold: 0.5 is meaningless for a perplexity.
FRACTIONS = frozenset(
    {
        "4096", "acc", "acc_norm", "accuracy", "attack_success_rate", "classification_score", "consistency_rate", "em",
        "avg@n", "bleu_acc", "exact", "exact_match", "extractive_match", "f1", "inst_level_loose_acc",
        "inst_level_strict_acc", "json_validity", "libra_score", "math_verify", "pass@1", "pass@k", "pass_at_1",
        "pct_stereotype", "prompt_level_loose_acc", "prompt_level_strict_acc", "qa_f1_score", "r@1",
        "schema_compliance", "truthfulqa_mc1", "truthfulqa_mc2",
    }
)  # fmt: skip
#: Other metrics with known limits. Everything else counts as unbounded.
RANGES = {
    **dict.fromkeys(FRACTIONS, (0, 1)),
    **dict.fromkeys(("mcc", "matthews_correlation"), (-1, 1)),
    **dict.fromkeys(("mc1", "mc2", "pem", "qem", "loglikelihood_f1", "maj@n", "codegen_pass@1", "gpqa_pass@k"), (0, 1)),
}  # fmt: skip

_ABBREVIATIONS = (
    "ACP", "AGIEval", "AIME", "ANLI", "ANSI", "API", "ARC", "ASDiv", "AV", "BabiLong", "BBH", "BBQ",
    "BIG", "BLEU", "BLiMP", "BoolQ", "CareQA", "CEval", "CMMLU", "CoLA", "COPA", "CoQA", "CoT",
    "CRUXEval", "CTF", "DAN", "DROP", "EQ", "ETHICS", "FDA", "FLD", "GPQA", "GRE", "GSM", "GSM8K",
    "HAERAE", "HeadQA", "HellaSwag", "HumanEval", "IFEval", "JSON", "KoBEST", "LAMBADA", "LogiQA",
    "LongBench", "LSAT", "LR", "RC", "AR", "MBPP", "MCP", "MedMCQA", "MedQA", "MGSM", "MMLU", "MNLI", "MRPC",
    "MuSR", "MuTual", "NIAH", "NLI", "OpenBookQA", "PAWSX", "PII", "PIQA", "PROST", "PubMedQA",
    "QA", "QASPER", "QNLI", "QQP", "RACE", "RAG", "RTE", "RULER", "SAT", "SciQ", "SQL", "SQuADv2",
    "SST2", "SWAG", "SWDE", "SWE", "TriviaQA", "TruthfulQA", "US", "WebQs", "WiC", "WikiText",
    "WinoGrande", "WMDP", "WNLI", "WSC", "XCOPA", "XNLI", "XStoryCloze", "XWinograd",
)  # fmt: skip
_SPELLING = {word.lower(): word for word in _ABBREVIATIONS}


@dataclass(frozen=True, kw_only=True)
class Framework:
    """A framework as the header of its provider file names it."""

    provider_id: str
    package: str
    title: str
    licence: str
    thresholds: str = "this project's starting points, not the framework's judgement"
    reported: Callable[[str], str] = str
    """The name under which the community's adapter reports a metric of the framework."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is known of a metric: see ``MetricProperties`` of the server. ``mean``: the score is the mean over samples.

    ``alias_of`` is the framework's name of the metric, ``reported_as`` its adapter's.
    """

    name: str
    range: tuple[float, float] | None = None
    mean: bool = True
    lower_is_better: bool = False
    alias_of: str = ""
    filter: str = ""
    reported_as: str = ""

    @classmethod
    def named(cls, name: str, **facts: Any) -> Metric:
        """A metric with the limits that its name implies."""
        facts.setdefault("range", RANGES.get(name.partition(":")[0]))
        return cls(name=name, **facts)

    def entry(self) -> dict[str, Any]:
        """The entry for the provider file; empty if nothing but the name is known."""
        facts: dict[str, Any] = {
            "range": list(self.range) if self.range else None,
            "aggregation": None if self.mean else "other",
            "sample_metric": self.alias_of,
            "lower_is_better": self.lower_is_better,
            "alias_of": self.alias_of or self.reported_as,
            "filter": self.filter,
        }
        known = {key: value for key, value in facts.items() if value}
        return {"metric": self.name, **known} if known else {}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One entry of a provider file. Empty and zero mean that the registry has no value."""

    id: str
    name: str = ""
    description: str
    category: str
    metrics: tuple[str, ...]
    url: str = ""
    few_shot: int = 0
    choices: int = 0
    """Answers to choose from; 0 if their number varies or there are none."""
    dataset_size: int = 0
    tags: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    primary: str = ""
    lower_is_better: bool = False
    threshold: float | None = None
    alias_of: str = ""
    requires: tuple[str, ...] = ()
    twin: str = ""
    defaults: dict[str, Any] = field(default_factory=dict[str, Any])
    groups: str = ""
    properties: tuple[Metric, ...] = ()
    score_ranges: tuple[tuple[str, str], ...] = ()

    def reported(self, names: Callable[[str], str]) -> Benchmark:
        """The benchmark with the ``names`` under which its adapter reports metrics that have another name here."""
        known = {metric.name: metric for metric in self.properties}
        for name in self.metrics:
            metric = known.get(name, Metric.named(name))
            if names(name) != name and not metric.alias_of:
                known[name] = replace(metric, reported_as=names(name))
        reported = [metric.reported_as for metric in known.values() if metric.reported_as]
        return replace(
            self,
            metrics=tuple(dict.fromkeys((*self.metrics, *reported))),
            properties=tuple(known.values()),
        )

    def entry(self) -> dict[str, Any]:
        """Return the entry for the provider file, with its keys in reading order.

        Default values are left out: every server reads these files at its start.
        """
        entry: dict[str, Any] = {
            "id": self.id,
            "name": self.name or readable(self.id),
            "description": self.description,
            "category": self.category,
            "url": self.url,
            "metrics": list(self.metrics),
            "num_few_shot": self.few_shot,
            "dataset_size": self.dataset_size,
            "tags": list(self.tags),
            "modalities": [] if self.modalities == ("text",) else list(self.modalities),
        }
        entry = {key: value for key, value in entry.items() if value}
        if self.alias_of:
            entry = {"id": self.id, "alias_of": self.alias_of, **entry}
        if self.primary:
            lower = {"lower_is_better": True} if self.lower_is_better else {}
            entry["primary_score"] = {"metric": self.primary, **lower}
            if self.threshold is not None:
                entry["pass_criteria"] = {"threshold": self.threshold}
            if self.choices and self.primary in ("acc", "acc_norm"):
                entry["chance_level"] = round(1 / self.choices, 3)
        properties = [facts for metric in self.properties if (facts := metric.entry())]
        more: dict[str, Any] = {
            "requires": list(self.requires),
            "generating_twin": self.twin,
            "default_parameters": self.defaults,
            "groups": self.groups,
            "metric_properties": properties,
        }
        entry |= {key: value for key, value in more.items() if value}
        if self.score_ranges:
            ranges = [{"range": range_, "meaning": meaning} for range_, meaning in self.score_ranges]
            entry["agent"] = {"score_ranges": ranges}
        return entry


def starting_threshold(metric: str, *, lower_is_better: bool = False, choices: int = 0) -> float | None:
    """Return a default threshold: 0.5, or 0.65 where guessing between two choices reaches 0.5; None if unbounded."""
    if metric.partition(":")[0] not in FRACTIONS:  # lighteval appends parameters
        return None
    if lower_is_better:
        return 0.2
    return 0.65 if choices == 2 else 0.5


def readable(identifier: str) -> str:
    """Return ``ARC Challenge`` for ``arc_challenge``: short words stay lower-case, known abbreviations are spelled as usual."""
    words = [word for word in re.split(r"[\s_:/-]+", identifier) if word]
    return " ".join(_SPELLING.get(word.lower(), _capital(word, first=not n)) for n, word in enumerate(words))


def _capital(word: str, *, first: bool) -> str:
    small = ("of", "and", "or", "the", "in", "to", "with", "without", "vs")
    return word if word in small and not first else word[0].upper() + word[1:]
