"""The weighted mean of a job with its interval."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.domain.lineage_view import LineageView, view_of_job
from evalhub_server.domain.overall_score import overall_score
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark, ResultRecord
from evalhub_server.domain.scoring import benchmark_test, job_test
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.results import Interval, ScoreSummary
from evalhub_server.models.common import PrimaryScore, State
from evalhub_server.models.provider import MetricProperties
from evalhub_server.testing.builders import a_job

SHARE = (0.0, 1.0)
TWO = {"a": (0.8, 0.7, 0.86), "b": (0.5, 0.4, 0.6)}
"""Score and limits by benchmark."""


def a_benchmark(
    name: str, *, weight: float = 1.0, lower: bool = False, bounds: Any = SHARE
) -> PlannedBenchmark:
    return PlannedBenchmark(
        id=name,
        provider_id="p",
        weight=weight,
        threshold=0.5,
        primary_score=PrimaryScore(metric="acc", lower_is_better=lower),
        metric_properties=(MetricProperties(metric="acc", range=bounds),),
    )


def a_finished_job(*planned: PlannedBenchmark) -> JobRecord:
    records = [
        BenchmarkRecord(
            index=index,
            state=State.COMPLETED,
            result=ResultRecord(
                metrics={"acc": TWO[each.id][0]}, test=benchmark_test(each, {"acc": TWO[each.id][0]})
            ),
        )
        for index, each in enumerate(planned)
    ]
    return a_job(plan=JobPlan(benchmarks=planned), benchmarks=tuple(records))


def scores_of(view: LineageView, **intervals: Any) -> list[ScoredBenchmark]:
    found: list[ScoredBenchmark] = []
    for name, source in view.items():
        value, low, high = TWO[source.planned.id]
        summary = ScoreSummary(
            n_expected=9, n_scored=9, n_error=0, n_missing=0, n=9, value=value, model_errors="wrong", infrastructure_errors="exclude",
            interval=Interval(low=low, high=high, confidence=0.95, method="Wilson"),
        )  # fmt: skip
        if source.planned.id in intervals:
            summary = replace(summary, interval=intervals[source.planned.id])
        found.append(ScoredBenchmark(name=name, metric="acc", lower_is_better=False, summary=summary))
    return found


def test_it_is_the_jobs_score_with_an_interval() -> None:
    job = a_finished_job(a_benchmark("a", weight=3), a_benchmark("b"))
    view = view_of_job(job, (job,))
    overall = overall_score(view, scores_of(view))
    assert overall is not None
    assert overall.value == pytest.approx(0.725)
    assert overall.low == pytest.approx(0.725 - (0.075**2 + 0.025**2) ** 0.5)
    assert overall.high == pytest.approx(0.725 + (0.045**2 + 0.025**2) ** 0.5)
    test = job_test(job.plan, [each.result.test if each.result else None for each in job.benchmarks])
    assert test is not None
    assert overall.value == pytest.approx(test.score)


def test_lower_is_better_counts_with_its_complement() -> None:
    job = a_finished_job(a_benchmark("a", lower=True), a_benchmark("b"))
    view = view_of_job(job, (job,))
    overall = overall_score(view, scores_of(view))
    assert overall is not None
    assert overall.value == pytest.approx(0.35)
    assert overall.low == pytest.approx(0.35 - (0.03**2 + 0.05**2) ** 0.5)
    assert overall.high == pytest.approx(0.35 + (0.05**2 + 0.05**2) ** 0.5)


def test_without_an_interval_of_each_part_there_is_none() -> None:
    a, b = a_benchmark("a"), a_benchmark("b")
    job = a_finished_job(a, b)
    view = view_of_job(job, (job,))
    assert overall_score(view, scores_of(view, b=None)) is None
    assert overall_score(view, scores_of(view)[:1]) is None
    refused = [
        (a,),
        (a, replace(a, weight=2.0)),
        (a, a_benchmark("b", bounds=None)),
        (a, a_benchmark("b", lower=True, bounds=(0.0, 100.0))),
        (a, replace(b, threshold=None)),
        (a, replace(b, weight=0.0)),
    ]
    for planned in refused:
        job = a_finished_job(*planned)
        view = view_of_job(job, (job,))
        assert overall_score(view, scores_of(view)) is None
    running = replace(job, benchmarks=(job.benchmarks[0], BenchmarkRecord(index=1)))
    view = view_of_job(running, (running,))
    assert overall_score(view, scores_of(view)) is None
