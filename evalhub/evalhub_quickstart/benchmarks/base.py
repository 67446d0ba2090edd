"""Base class of benchmarks: samples, judgements of each answer, and metrics over all answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalhub_common.adapter.completions import without_thinking
from evalhub_common.adapter.json_values import JsonObject, as_object, parse
from evalhub_quickstart.stats import mean, share_stderr, wilson_interval

DATA_DIRECTORY = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Sample:
    """One prompt. ``expected`` is the reference of the scorer: an answer, constraints or a schema.

    ``epoch`` counts the repeats of a prompt, from 0.
    """

    index: int
    id: str
    prompt: str
    expected: JsonObject
    epoch: int = 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one sample.

    ``marks`` are named yes/no judgements of the answer; they are empty without an answer, and a missing mark
    counts as no. ``error`` is None if there was an answer. ``ended_at`` is None for an outcome of an earlier run.
    """

    sample: Sample
    response: str | None = None
    marks: Mapping[str, bool] = field(default_factory=dict[str, bool])
    latency_s: float | None = None
    output_tokens: int | None = None
    attempts: int
    error: str | None = None
    ended_at: str | None = None


class Benchmark(ABC):
    """One benchmark. Stateless: all methods are functions of their arguments."""

    primary_mark: str
    """The mark that is the score of a sample."""

    max_tokens: int
    """Default limit of an answer, in tokens."""

    reusable: bool = True
    """Whether an earlier answer is as good as a new one: not if the benchmark measures times."""

    @abstractmethod
    def samples(self, requests: int | None) -> list[Sample]:
        """All samples in their fixed order.

        ``requests`` is their number, for benchmarks with such a parameter.
        """

    @abstractmethod
    def marks(self, sample: Sample, answer: str) -> Mapping[str, bool]:
        """Judge an answer. ``answer`` is stripped and without a leading ``<think>`` block."""

    def sample_metrics(self, outcome: Outcome) -> dict[str, float]:
        """The metrics of one sample, of which the reported ones are means. A sample without an answer scores 0."""
        names = {self.primary_mark: False, **outcome.marks}
        return {name: float(value) for name, value in names.items()}

    @abstractmethod
    def metrics(self, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, float]:
        """The metrics over the outcomes, of which at least one has an answer, and the run's duration.

        Every value is finite: a metric that is undefined (a standard error of one sample) is left out.
        """


def load_rows(name: str) -> list[JsonObject]:
    """The rows of a bundled JSON Lines file."""
    lines = (DATA_DIRECTORY / name).read_text(encoding="utf-8").splitlines()
    return [row for row in (as_object(parse(line)) for line in lines) if row is not None]


def visible_answer(response: str) -> str:
    """The answer without the leading ``<think>`` block of reasoning models."""
    return without_thinking(response).strip()


def shares(outcomes: Sequence[Outcome], names: Iterable[str]) -> dict[str, float]:
    """For each mark the share of samples that have it, with its standard error as ``<name>_stderr``.

    The standard error is Wilson's (:func:`~evalhub_quickstart.stats.share_stderr`), so that it is not 0 if all are right.
    """
    metrics: dict[str, float] = {}
    for name in names:
        values = [float(outcome.marks.get(name, False)) for outcome in outcomes]
        metrics[name] = mean(values)
        stderr = share_stderr(sum(values), len(values))
        if stderr is not None:
            metrics[f"{name}_stderr"] = stderr
    return metrics


def intervals(outcomes: Sequence[Outcome], name: str) -> dict[str, object]:
    """Wilson's 95 % interval of the share of samples with a mark."""
    successes = sum(outcome.marks.get(name, False) for outcome in outcomes)
    low, high = wilson_interval(successes, len(outcomes))
    return {"metric": name, "method": "wilson", "confidence": 0.95, "low": low, "high": high}
