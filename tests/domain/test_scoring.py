"""Scores and verdicts (rest-api §5, as amended by decisions 12-14 and 36)."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.domain.scoring import benchmark_test, job_test, left_out_of_score, missing_score
from evalhub_server.models.common import Message, PrimaryScore
from evalhub_server.models.job import BenchmarkTest, JobTest, LeftOut


def a_benchmark(
    *, metric: str = "acc", lower: bool = False, threshold: float | None = 0.5, weight: float = 1.0
) -> PlannedBenchmark:
    score = PrimaryScore(metric=metric, lower_is_better=lower)
    return PlannedBenchmark(id="b", provider_id="p", primary_score=score, threshold=threshold, weight=weight)


def a_test(score: float) -> BenchmarkTest:
    return BenchmarkTest(primary_score=score, primary_score_metric="acc", threshold=0.5, passed=score >= 0.5)


@pytest.mark.parametrize(
    ("value", "lower", "passed"),
    [
        (0.5, False, True),
        (0.51, False, True),
        (0.49, False, False),
        (0.5, True, True),
        (0.49, True, True),
        (0.51, True, False),
        (0, False, False),
        (0, True, True),
        (-3, True, True),
        (1, False, True),
    ],
)
def test_a_score_passes_at_its_threshold_and_on_the_better_side(
    value: float, lower: bool, passed: bool
) -> None:
    assert benchmark_test(a_benchmark(lower=lower), {"acc": value}) == BenchmarkTest(
        primary_score=value, primary_score_metric="acc", threshold=0.5, passed=passed
    )


def test_a_threshold_of_zero_is_a_threshold() -> None:
    test = benchmark_test(a_benchmark(threshold=0.0), {"acc": 0.0})
    assert test is not None
    assert test.passed


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"other": 1},
        {"acc": None},
        {"acc": "0.9"},
        {"acc": True},
        {"acc": [0.9]},
        {"acc": {"value": 0.9}},
        {"acc": math.nan},
        {"acc": math.inf},
        {"acc": -math.inf},
        {"acc": 10**400},
    ],
)
def test_what_is_not_a_finite_number_is_no_score(metrics: dict[str, Any]) -> None:
    assert benchmark_test(a_benchmark(), metrics) is None


@pytest.mark.parametrize("value", [1e39, 1.7e308, 10**300, 5e-324])
def test_numbers_beyond_single_precision_are_scored(value: float) -> None:
    test = benchmark_test(a_benchmark(), {"acc": value})
    assert test is not None
    assert test.primary_score == float(value)


def test_without_a_primary_score_there_is_no_test() -> None:
    assert benchmark_test(PlannedBenchmark(id="b", provider_id="p", threshold=0.5), {"acc": 1}) is None


def test_without_a_threshold_there_is_no_test() -> None:
    assert benchmark_test(a_benchmark(threshold=None), {"acc": 1}) is None


@pytest.mark.parametrize(
    ("weights", "scores", "expected"),
    [
        ((1.0,), (0.3,), 0.3),
        ((1.0, 1.0), (0.2, 0.8), 0.5),
        ((3.0, 1.0), (0.2, 1.0), 0.4),
        ((0.25, 0.75), (1.0, 0.0), 0.25),
    ],
)
def test_the_job_score_is_the_weighted_mean(
    weights: tuple[float, ...], scores: tuple[float, ...], expected: float
) -> None:
    plan = JobPlan(benchmarks=tuple(a_benchmark(weight=w) for w in weights))
    test = job_test(plan, [a_test(s) for s in scores])
    assert test is not None
    assert test.score == pytest.approx(expected)


def test_a_lower_is_better_score_is_turned_around() -> None:
    """The example of the spec: 0.8 and a loss of 0.2 with weights 3:1 (decision 13)."""
    plan = JobPlan(benchmarks=(a_benchmark(weight=3), a_benchmark(lower=True, weight=1)))
    test = job_test(plan, [a_test(0.8), a_test(0.2)])
    assert test is not None
    assert test.score == pytest.approx(0.8)


@pytest.mark.parametrize("value", [12.5, 20, -0.1, 1.0000001, 1e300])
def test_a_lower_is_better_score_outside_0_to_1_is_left_out(value: float) -> None:
    """The released formula gives -5.3 for an accuracy of 0.9 and a perplexity of 12.5."""
    plan = JobPlan(benchmarks=(a_benchmark(), a_benchmark(metric="ppl", lower=True, weight=100)))
    assert job_test(plan, [a_test(0.9), a_test(value)]) == JobTest(
        score=0.9,
        threshold=0.5,
        passed=True,
        left_out=(
            LeftOut(
                benchmark_index=1,
                provider_id="p",
                id="b",
                metric="ppl",
                reason=f"lower is better, and {value!r} is outside [0, 1]",
            ),
        ),
    )


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_lower_is_better_score_from_0_to_1_counts(value: float) -> None:
    plan = JobPlan(benchmarks=(a_benchmark(lower=True),))
    assert job_test(plan, [a_test(value)]) == JobTest(score=1 - value, threshold=0.5, passed=value <= 0.5)


def test_a_higher_is_better_score_counts_whatever_its_range() -> None:
    plan = JobPlan(benchmarks=(a_benchmark(),))
    assert job_test(plan, [a_test(20)]) == JobTest(score=20.0, threshold=0.5, passed=True)


def test_no_job_test_without_a_score_that_can_be_averaged_but_the_reasons() -> None:
    plan = JobPlan(benchmarks=(a_benchmark(metric="ppl", lower=True), a_benchmark()))
    tests = [a_test(12.5), None]
    assert job_test(plan, tests) is None
    assert [(each.benchmark_index, each.reason) for each in left_out_of_score(plan, tests)] == [
        (0, "lower is better, and 12.5 is outside [0, 1]"),
        (1, "the result has no usable 'acc'"),
    ]


@pytest.mark.parametrize(
    ("benchmark", "metric", "reason"),
    [
        (a_benchmark(weight=100), "acc", "the result has no usable 'acc'"),
        (a_benchmark(threshold=None), "acc", "no threshold is defined"),
        (PlannedBenchmark(id="b", provider_id="p"), "", "no primary score is defined"),
    ],
)
def test_benchmarks_without_a_test_are_left_out_of_both_sums_and_listed(
    benchmark: PlannedBenchmark, metric: str, reason: str
) -> None:
    plan = JobPlan(benchmarks=(a_benchmark(weight=1), benchmark))
    left_out = LeftOut(benchmark_index=1, provider_id="p", id="b", metric=metric, reason=reason)
    assert job_test(plan, [a_test(0.9), None]) == JobTest(
        score=0.9, threshold=0.5, passed=True, left_out=(left_out,)
    )


def test_left_out_is_absent_if_all_benchmarks_count() -> None:
    test = job_test(JobPlan(benchmarks=(a_benchmark(),)), [a_test(0.9)])
    assert msgspec.to_builtins(test) == {"score": 0.9, "threshold": 0.5, "pass": True}


NO_SCORE = "so there is no score and no verdict."


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({}, f"Completed, but the result has no 'exact_match', {NO_SCORE}"),
        ({"latency": 1}, f"Completed, but the result has no 'exact_match', {NO_SCORE}"),
        (
            {"exact_match,strict-match": 1, "latency": 1, "Exact_Match": 1, "exact_mtach": 1},
            (
                f"Completed, but the result has no 'exact_match', {NO_SCORE} "
                f"It has 'Exact_Match', 'exact_match,strict-match', 'exact_mtach'."
            ),
        ),
        (
            {"exact_match": "1"},
            f"Completed, but the result's 'exact_match' is not a finite number, {NO_SCORE}",
        ),
    ],
)
def test_a_result_without_the_promised_metric_warns_with_near_names(
    metrics: dict[str, Any], text: str
) -> None:
    message = missing_score(a_benchmark(metric="exact_match"), metrics)
    assert message == Message(message=text, message_code="primary_metric_missing", message_origin="server")


def test_nothing_is_missing_with_the_metric_or_without_a_promise() -> None:
    assert missing_score(a_benchmark(), {"acc": 0}) is None
    assert missing_score(PlannedBenchmark(id="b", provider_id="p"), {}) is None


def test_no_test_at_all_gives_no_job_test() -> None:
    assert job_test(JobPlan(benchmarks=(a_benchmark(), a_benchmark())), [None, None]) is None


def test_a_job_passes_although_a_benchmark_failed_its_own_threshold() -> None:
    plan = JobPlan(benchmarks=(a_benchmark(), a_benchmark()), threshold=0.4)
    test = job_test(plan, [a_test(0.1), a_test(0.9)])
    assert test is not None
    assert test.passed


@pytest.mark.parametrize("score", [0.1, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 10])
def test_benchmarks_that_all_reach_the_threshold_exactly_pass_the_job(score: float, size: int) -> None:
    """Their sum in doubles, divided by their number, can fall below the threshold: 0.7 + 0.7 + 0.7."""
    plan = JobPlan(benchmarks=(a_benchmark(),) * size, threshold=score)
    assert job_test(plan, [a_test(score)] * size) == JobTest(score=score, threshold=score, passed=True)


def test_huge_scores_do_not_overflow() -> None:
    plan = JobPlan(benchmarks=(a_benchmark(weight=1e300), a_benchmark(weight=1e300)))
    assert job_test(plan, [a_test(1.5e308), a_test(1.5e308)]) == JobTest(
        score=1.5e308, threshold=0.5, passed=True
    )


finite = st.floats(allow_nan=False, allow_infinity=False)
weighted = st.lists(
    st.tuples(st.floats(min_value=0, exclude_min=True, allow_infinity=False), finite), min_size=1, max_size=6
)


@given(weighted)
def test_the_mean_lies_between_the_lowest_and_the_highest_score(pairs: list[tuple[float, float]]) -> None:
    plan = JobPlan(benchmarks=tuple(a_benchmark(weight=weight) for weight, _ in pairs))
    test = job_test(plan, [a_test(score) for _, score in pairs])
    assert test is not None
    assert min(score for _, score in pairs) <= test.score <= max(score for _, score in pairs)


@given(finite, finite)
def test_turning_the_direction_turns_the_verdict_except_at_the_threshold(
    value: float, threshold: float
) -> None:
    higher = benchmark_test(a_benchmark(threshold=threshold), {"acc": value})
    lower = benchmark_test(a_benchmark(threshold=threshold, lower=True), {"acc": value})
    assert higher is not None
    assert lower is not None
    assert (higher.passed == lower.passed) is (value == threshold)
