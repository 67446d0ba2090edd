"""Scoring: primary scores compared with thresholds, for a benchmark and for a job. Only finite numbers are scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fractions import Fraction

from evalhub_server.domain.plain_text import plain_text
from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.models.common import Json, Message
from evalhub_server.models.job import BenchmarkTest, JobTest, LeftOut

MAX_NEAR_NAMES = 3


def benchmark_test(benchmark: PlannedBenchmark, metrics: Json) -> BenchmarkTest | None:
    """Compare the primary score with the threshold; None without a threshold or a finite score.

    A score passes if it is at least the threshold or, where lower is better, at most.
    """
    score = benchmark.primary_score
    if score is None or benchmark.threshold is None:
        return None
    number = finite_number(metrics.get(score.metric))
    if number is None:
        return None
    passed = number <= benchmark.threshold if score.lower_is_better else number >= benchmark.threshold
    return BenchmarkTest(
        primary_score=number, primary_score_metric=score.metric, threshold=benchmark.threshold, passed=passed
    )


def missing_score(benchmark: PlannedBenchmark, metrics: Json) -> Message | None:
    """The warning of a completed benchmark whose result has no usable value of the primary metric."""
    score = benchmark.primary_score
    if score is None or finite_number(metrics.get(score.metric)) is not None:
        return None
    consequence = "so there is no score and no verdict."
    if score.metric in metrics:
        text = f"Completed, but the result's '{score.metric}' is not a finite number, {consequence}"
    else:
        text = f"Completed, but the result has no '{score.metric}', {consequence}"
        if near := _near_names(score.metric, metrics):
            text += f" It has {', '.join(repr(name) for name in near)}."
    return Message(message=plain_text(text), message_code="primary_metric_missing", message_origin="server")


def job_test(plan: JobPlan, tests: Sequence[BenchmarkTest | None]) -> JobTest | None:
    """Weighted mean over the benchmarks that have a test; ``tests`` is aligned with ``plan.benchmarks``.

    A benchmark contributes w·s, or w·(1 - s) where lower is better; the sum is divided by the sum of the weights
    and is not clamped. A lower-is-better score outside [0, 1] cannot be converted, so its benchmark is left out like
    those without a test. None if no benchmark is left. The mean is computed exactly and rounded once: three scores of
    0.7 must reach a threshold of 0.7, and their mean in doubles does not.
    """
    total = weights = Fraction(0)
    for benchmark, test in zip(plan.benchmarks, tests, strict=True):
        if test is None or _exclusion(benchmark, test):
            continue
        primary_score, weight = Fraction(test.primary_score), Fraction(benchmark.weight)
        total += weight * (1 - primary_score if _lower_is_better(benchmark) else primary_score)
        weights += weight
    if not weights:
        return None
    score = float(total / weights)
    return JobTest(
        score=score,
        threshold=plan.threshold,
        passed=score >= plan.threshold,
        left_out=left_out_of_score(plan, tests),
    )


def left_out_of_score(plan: JobPlan, tests: Sequence[BenchmarkTest | None]) -> tuple[LeftOut, ...]:
    """The benchmarks that do not count in :func:`job_test`, with the reasons."""
    return tuple(
        LeftOut(
            benchmark_index=index,
            provider_id=benchmark.provider_id,
            id=benchmark.id,
            metric=benchmark.primary_score.metric if benchmark.primary_score else "",
            reason=reason,
        )
        for index, (benchmark, test) in enumerate(zip(plan.benchmarks, tests, strict=True))
        if (reason := _exclusion(benchmark, test))
    )


def _exclusion(benchmark: PlannedBenchmark, test: BenchmarkTest | None) -> str:
    """Why a benchmark does not count in the job's score; empty if it does."""
    if test is None:
        if benchmark.primary_score is None:
            return "no primary score is defined"
        if benchmark.threshold is None:
            return "no threshold is defined"
        return f"the result has no usable '{benchmark.primary_score.metric}'"
    if _lower_is_better(benchmark) and not 0 <= test.primary_score <= 1:
        return f"lower is better, and {test.primary_score!r} is outside [0, 1]"
    return ""


def _lower_is_better(benchmark: PlannedBenchmark) -> bool:
    return benchmark.primary_score is not None and benchmark.primary_score.lower_is_better


def finite_number(value: object) -> float | None:
    """The value as a double; None for anything but a finite number in their range."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of doubles
        return None
    return number if math.isfinite(number) else None


def standard_error(metrics: Json, name: str, *, is_primary: bool) -> float | None:
    """The standard error of a metric: the metric ``<name>_stderr``, or ``stderr`` for the primary metric."""
    error = finite_number(metrics.get(f"{name}_stderr"))
    return finite_number(metrics.get("stderr")) if error is None and is_primary else error


def _near_names(name: str, names: Iterable[str]) -> list[str]:
    """The names that contain ``name``, are part of it, or are spelled like it; the nearest first."""
    wanted = name.casefold()
    by_key = {each.casefold(): each for each in names if each}
    related = sorted((key for key in by_key if wanted in key or key in wanted), key=len)
    keys = dict.fromkeys([*related, *get_close_matches(wanted, by_key, MAX_NEAR_NAMES)])
    return [by_key[key] for key in list(keys)[:MAX_NEAR_NAMES]]
