"""Scoring: primary scores compared with thresholds, for a benchmark and for a job. Only finite numbers are scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.models.common import Json
from evalhub_server.models.job import BenchmarkTest, JobTest


def benchmark_test(benchmark: PlannedBenchmark, metrics: Json) -> BenchmarkTest | None:
    """Compare the primary score with the threshold; None without a threshold or a finite score.

    A score passes if it is at least the threshold or, where lower is better, at most.
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

    A benchmark contributes w·s, or w·(1 - s) where lower is better; the sum is divided by the sum of the weights
    and is not clamped. None if no benchmark has a test. The mean is computed exactly and rounded once: three scores
    of 0.7 must reach a threshold of 0.7, and their mean in doubles does not.
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
