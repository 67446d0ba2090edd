"""Scores and verdicts. Doubles throughout; what is not a finite number is no score."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    and is not clamped. None when no benchmark has a test.
    """
    total = weights = 0.0
    for benchmark, test in zip(plan.benchmarks, tests, strict=True):
        if test is None:
            continue
        lower = benchmark.primary_score is not None and benchmark.primary_score.lower_is_better
        total += benchmark.weight * (1 - test.primary_score if lower else test.primary_score)
        weights += benchmark.weight
    if not weights or not math.isfinite(total) or not math.isfinite(weights):
        return None
    score = total / weights
    return JobTest(score=score, threshold=plan.threshold, passed=score >= plan.threshold)
