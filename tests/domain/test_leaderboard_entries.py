"""Which runs a leaderboard ranks models by, marks of other settings, and the order of rows."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.comparison_view import LeaderboardEntry, compared_job, model_results
from evalhub_server.domain.leaderboard_entries import (
    MAX_MEAN_RUNS,
    ModelRun,
    choose_runs,
    mark_settings,
    mean_results,
    other_settings,
    sorted_entries,
    weighted_score,
)
from evalhub_server.domain.lineage_view import view_of_job
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, PlannedBenchmark, ResultRecord
from evalhub_server.domain.statistics.inputs import ModelRuns
from evalhub_server.domain.statistics.leaderboard import leaderboard
from evalhub_server.models.common import PrimaryScore, State
from evalhub_server.models.provider import MetricProperties
from evalhub_server.testing.builders import a_job
from harness.evaluation_runs import a_run

RANGE = (MetricProperties(metric="acc", range=(0.0, 1.0)),)
WEIGHTS = {"p/a": 1.0, "p/b": 3.0}


def a_model_run(
    a: float | None,
    b: float | None = 0.5,
    *,
    lower: bool = False,
    properties: tuple[MetricProperties, ...] = RANGE,
    **parameters: Any,
) -> ModelRun:
    planned = tuple(
        PlannedBenchmark(
            id=name,
            provider_id="p",
            primary_score=PrimaryScore(metric="acc", lower_is_better=lower and name == "a"),
            metric_properties=properties,
            parameters=parameters,
        )
        for name in ("a", "b")
    )
    results = tuple(
        BenchmarkRecord(
            index=index,
            state=State.COMPLETED,
            result=ResultRecord(metrics={} if value is None else {"acc": value}),
        )
        for index, value in enumerate((a, b))
    )
    job = a_job(plan=JobPlan(benchmarks=planned), benchmarks=results)
    return ModelRun(job=job, view=view_of_job(job, [job]))


def an_entry(model: str, run: ModelRun) -> LeaderboardEntry:
    return LeaderboardEntry(
        model=model,
        job=compared_job(run.job, run.view),
        score=weighted_score(run.view, WEIGHTS),
        results=model_results(run.view, WEIGHTS),
    )


def test_the_newest_run_counts_by_default() -> None:
    newest, older = a_model_run(0.1), a_model_run(0.9)
    chosen = choose_runs([newest, older], "latest", WEIGHTS)
    assert (chosen.first, chosen.complete, chosen.chosen_of) == (newest, 2, 1)


def test_the_best_run_is_named_with_the_number_it_was_chosen_of() -> None:
    runs = [a_model_run(0.1), a_model_run(0.9), a_model_run(None), a_model_run(0.9, 0.4)]
    chosen = choose_runs(runs, "best", WEIGHTS)
    assert (chosen.first, chosen.complete, chosen.chosen_of) == (runs[1], 4, 3)
    unknown = choose_runs([a_model_run(None), a_model_run(None)], "best", WEIGHTS)
    assert (unknown.complete, unknown.chosen_of) == (2, 1)


def test_the_mean_is_that_of_the_newest_runs_with_the_same_settings() -> None:
    runs = [a_model_run(each / 10, num_few_shot=each % 2) for each in range(2 * MAX_MEAN_RUNS + 4)]
    chosen = choose_runs(runs, "mean", WEIGHTS)
    assert chosen.runs == runs[: 2 * MAX_MEAN_RUNS : 2]
    assert (chosen.complete, chosen.other_settings) == (len(runs), len(runs) // 2)
    results = mean_results(chosen.views, WEIGHTS)
    assert (results["p/a"].score, results["p/a"].runs) == (pytest.approx(0.4), 5)
    assert results["p/a"].job_id == runs[0].job.id


def test_a_weighted_score_needs_all_scores_and_turns_lower_ones() -> None:
    assert weighted_score(a_model_run(0.9, 0.5).view, WEIGHTS) == pytest.approx(0.6)
    assert weighted_score(a_model_run(0.9, 0.5, lower=True).view, WEIGHTS) == pytest.approx(0.4)
    assert weighted_score(a_model_run(0.9, 0.5, lower=True, properties=()).view, WEIGHTS) is None
    assert weighted_score(a_model_run(None).view, WEIGHTS) is None
    assert weighted_score({}, WEIGHTS) is None


def test_results_with_other_settings_than_most_are_marked() -> None:
    runs = {
        "one": a_model_run(0.1, num_few_shot=5),
        "two": a_model_run(0.1, num_few_shot=0),
        "three": a_model_run(0.1, num_few_shot=0),
    }
    entries = [an_entry(model, run) for model, run in runs.items()]
    marked = mark_settings(
        {each.model: each.results for each in entries}, {m: run.view for m, run in runs.items()}, WEIGHTS
    )
    assert [bool(marked[model]["p/b"].configuration) for model in runs] == [True, False, False]
    assert marked["one"]["p/a"].differs_from == "two"
    (other,) = other_settings([LeaderboardEntry(model="one", job=entries[0].job, results=marked["one"])])
    assert (other.difference.name, other.difference.baseline, other.difference.candidate) == (
        "parameters.num_few_shot",
        "0",
        "5",
    )
    assert other.benchmarks == ("p/a", "p/b")


def test_of_equally_many_the_settings_of_the_first_model_count() -> None:
    runs = {"one": a_model_run(0.1, num_few_shot=5), "two": a_model_run(0.1)}
    results = {model: model_results(run.view, WEIGHTS) for model, run in runs.items()}
    marked = mark_settings(results, {model: run.view for model, run in runs.items()}, WEIGHTS)
    assert marked["two"]["p/a"].differs_from == "one"
    assert not marked["one"]["p/a"].configuration


def test_rows_are_sorted_with_missing_scores_last() -> None:
    entries = [
        an_entry("b", a_model_run(0.3, 0.9)),
        an_entry("c", a_model_run(None)),
        an_entry("a", a_model_run(0.7, 0.1)),
    ]
    scores = {"a": [1.0, 0.0] * 20, "b": [1.0, 1.0] * 20}
    ranked = [ModelRuns(model=name, runs={"p/a": a_run(each)}) for name, each in scores.items()]
    board = leaderboard(ranked, {"p/a": 1.0, "p/b": 1.0})

    def order(sort: str) -> str:
        return "".join(each.model for each in sorted_entries(entries, board, sort))

    assert (order("-overall"), order("overall")) == ("bac", "abc")
    assert (order("-p/a"), order("p/a")) == ("bac", "abc")  # the scores of the ranking
    assert (order("-p/b"), order("p/b")) == ("bca", "acb")  # the reported ones
    assert (order("model"), order("-model")) == ("abc", "cba")
    assert (order("created"), order("-created")) == ("bca", "acb")
