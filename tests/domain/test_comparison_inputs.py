"""Jobs as inputs of comparisons."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalhub_server.domain.comparison_inputs import (
    items_of,
    rules_of,
    run_of,
    sample_metric_of,
    suite_of,
)
from evalhub_server.domain.lineage_view import Source, benchmark_names, view_of_job
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark, ResultRecord
from evalhub_server.domain.statistics.inputs import MetricRules
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.suite import compare_suites
from evalhub_server.models.common import PrimaryScore, State
from evalhub_server.models.provider import MetricProperties
from evalhub_server.testing.builders import a_job


def a_completed_job(*benchmarks: str, metrics: dict[str, Any] | None = None, **planned: Any) -> JobRecord:
    plan = tuple(
        PlannedBenchmark(id=name, provider_id="p", **{"primary_score": PrimaryScore(metric="acc"), **planned})
        for name in benchmarks
    )
    results = tuple(
        BenchmarkRecord(
            index=index,
            state=State.COMPLETED,
            result=ResultRecord(metrics=metrics or {"acc": 0.5, "acc_stderr": 0.1}),
        )
        for index in range(len(benchmarks))
    )
    return a_job(plan=JobPlan(benchmarks=plan), benchmarks=results)


def test_benchmarks_that_a_job_repeats_have_names_of_their_own() -> None:
    assert benchmark_names(a_completed_job("a", "b", "a").plan.benchmarks) == ["p/a", "p/b", "p/a#2"]


def test_a_run_has_what_identifies_it() -> None:
    job = a_completed_job("a", parameters={"num_examples": 40, "num_few_shot": 5})
    run = run_of(Source(job, 0))
    assert run is not None
    assert run.name == "p/a"
    assert run.header.model_name == "a-model"
    assert run.header.num_examples == 40
    assert (run.header.reported_value, run.header.reported_stderr) == (0.5, 0.1)
    assert run.rules == MetricRules(metric="acc")


@pytest.mark.parametrize(
    ("metrics", "value", "stderr"),
    [
        ({"acc": 0.5, "stderr": 0.2}, 0.5, 0.2),
        ({"acc": True}, None, None),
        ({"acc": 10**400, "acc_stderr": math.nan}, None, None),
        ({"other": 1}, None, None),
        ({"acc": 1e101, "acc_stderr": 1e200}, None, None),
    ],
)
def test_only_finite_numbers_are_scores(
    metrics: dict[str, Any], value: float | None, stderr: float | None
) -> None:
    run = run_of(Source(a_completed_job("a", metrics=metrics), 0))
    assert run is not None
    assert (run.header.reported_value, run.header.reported_stderr) == (value, stderr)


def test_another_metric_has_no_direction_of_the_primary_one() -> None:
    job = a_completed_job(
        "a", metrics={"loss": 1, "f1": 0.3}, primary_score=PrimaryScore(metric="loss", lower_is_better=True)
    )
    primary, other = run_of(Source(job, 0)), run_of(Source(job, 0), metric="f1")
    assert primary is not None
    assert primary.rules.lower_is_better
    assert other is not None
    assert other.rules == MetricRules(metric="f1")


def test_rules_come_from_the_snapshot_of_the_provider() -> None:
    declared = (
        MetricProperties(metric="acc", range=(0, 1), sample_metric="correct"),
        MetricProperties(metric="loss", lower_is_better=True, aggregation="other"),
    )
    planned = a_completed_job("a", metric_properties=declared, groups="strata").plan.benchmarks[0]
    assert rules_of(planned) == MetricRules(metric="acc", low=0, high=1, groups="strata")
    assert rules_of(planned, "loss") == MetricRules(
        metric="loss", lower_is_better=True, aggregation="other", groups="strata"
    )
    assert sample_metric_of(planned, "acc") == "correct"
    assert sample_metric_of(planned, "loss") == "loss"
    run = run_of(Source(a_completed_job("a", metric_properties=declared), 0))
    assert run is not None
    assert run.rules.high == 1


def test_the_direction_of_the_primary_metric_is_that_of_the_primary_score() -> None:
    declared = (MetricProperties(metric="loss", lower_is_better=False),)
    primary = PrimaryScore(metric="loss", lower_is_better=True)
    job = a_completed_job("a", metrics={"loss": 1}, primary_score=primary, metric_properties=declared)
    assert rules_of(job.plan.benchmarks[0]).lower_is_better


def test_a_benchmark_without_a_result_has_no_run() -> None:
    assert run_of(Source(a_job(), 0)) is None


def test_samples_become_items() -> None:
    items = items_of(
        ["a", "b", "c", "d"],
        [0, 0, 0, 0],
        [1.0, math.nan, math.nan, 0.0],
        failed=[None, "model", None, ""],
        groups=["x", "", "x", "y"],
        key_hashes=[b"1", b"2", b"3", b"4"],
    )
    assert items.statuses == ["ok", "model_error", "missing", "infrastructure_error"]
    assert items.clusters == ["x", None, "x", "y"]
    assert items.epochs is None
    run = run_of(
        Source(a_completed_job("a", metrics={}), 0),
        items=items,
        rules=MetricRules(metric="acc", low=0, high=1),
    )
    assert run is not None
    summary = score_run(run)
    assert (summary.n_scored, summary.n_error, summary.n_missing) == (1, 2, 1)


def test_two_jobs_are_matched_by_the_names_of_their_benchmarks() -> None:
    one, two = a_completed_job("a", "b", weight=3.0), a_completed_job("b", "c")
    suite = suite_of(view_of_job(one, ()), view_of_job(two, ()), run_of)
    assert [each.name for each in suite] == ["p/a", "p/b", "p/c"]
    assert [each.weight for each in suite] == [3.0, 3.0, 1.0]
    result = compare_suites(suite)
    assert [each.verdict for each in result.benchmarks] == ["incomplete", "inconclusive", "incomplete"]
    assert result.benchmarks[1].wording.startswith("unpaired: ")
