"""Scores and verdicts. Doubles throughout; what is not a finite number is no score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.models.common import Json
from evalhub_server.models.job import BenchmarkTest, JobTest


def benchmark_test(benchmark: PlannedBenchmark, metrics: Json) -> BenchmarkTest | None:
    """Compare the primary score with the threshold; None if there is no such metric, number or threshold.

    Passes when the score is at least the threshold, or at most when lower is better.
    """
    score = benchmark.primary_score
    if score is None or benchmark.threshold is None:
        return None
    value = metrics.get(score.metric)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the range of doubles
        return None
    if not math.isfinite(number):
        return None
    passed = number <= benchmark.threshold if score.lower_is_better else number >= benchmark.threshold
    return BenchmarkTest(
        primary_score=number, primary_score_metric=score.metric, threshold=benchmark.threshold, passed=passed
    )


def job_test(plan: JobPlan, tests: Sequence[BenchmarkTest | None]) -> JobTest | None:
    """Weighted mean over the benchmarks that have a test; ``tests`` is aligned with ``plan.benchmarks``.

    A benchmark contributes w·s, or w·(1 - s) when lower is better; the sum is divided by the sum of the weights
    and is not clamped. None when no benchmark has a test. The mean is exact before its one rounding: three scores
    of 0.7 must reach a threshold of 0.7, and their sum in doubles does not.
    """
    total = weights = Fraction(0)
    for benchmark, test in zip(plan.benchmarks, tests, strict=True):
        if test is None:
            continue
        lower = benchmark.primary_score is not None and benchmark.primary_score.lower_is_better
        primary_score, weight = Fraction(test.primary_score), Fraction(benchmark.weight)
        total += weight * (1 - primary_score if lower else primary_score)
        weights += weight
    if not weights:
        return None
    score = float(total / weights)
    return JobTest(score=score, threshold=plan.threshold, passed=score >= plan.threshold)
