"""Estimates of time and tokens from past jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from evalhub_server.domain.estimates import estimates
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.models.common import State
from evalhub_server.models.sample import SampleSet
from evalhub_server.testing.builders import a_job

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def a_run(
    seconds: float | None,
    tokens: int | None = None,
    *,
    state: State = State.COMPLETED,
    limit: int = 0,
    **job: Any,
) -> JobRecord:
    parameters = {"num_examples": limit} if limit else {}
    end = "" if seconds is None else (START + timedelta(seconds=seconds)).isoformat()
    record = BenchmarkRecord(
        index=0,
        state=state,
        started_at=START.isoformat(),
        completed_at=end,
        samples=SampleSet(state="stored", tokens=tokens),
    )
    planned = PlannedBenchmark(id="b", provider_id="p", parameters=parameters)
    return a_job(plan=JobPlan(benchmarks=(planned,)), benchmarks=(record,), **job)


def test_estimates_are_medians_of_whole_runs() -> None:
    jobs = [
        a_run(100, 1000),
        a_run(300),
        a_run(140, 3000),
        a_run(5, 10, limit=3),
        a_run(7, state=State.FAILED),
        a_run(None),
        a_run(-3),
        a_run(1, derived_from="x", lineage="x", reuses_samples=True),
    ]
    found = estimates(jobs, [("p", "b"), ("p", "new")])
    known, unknown = found.benchmarks
    assert (known.runs, known.duration_s, known.token_runs, known.tokens) == (3, 140.0, 2, 2000)
    assert not known.limited
    assert (unknown.runs, unknown.duration_s, unknown.tokens) == (0, None, None)
    assert (found.jobs, found.known, found.duration_s, found.known_tokens, found.tokens) == (
        8,
        1,
        140.0,
        1,
        2000,
    )


def test_limited_runs_count_where_there_are_no_others() -> None:
    (known,) = estimates([a_run(5, limit=3), a_run(7, limit=3)], [("p", "b")]).benchmarks
    assert (known.runs, known.duration_s, known.limited) == (2, 6.0, True)
    assert estimates([], [("p", "b")]).duration_s is None
