"""Series of the scores of jobs."""

from __future__ import annotations

from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.domain.trends import collection_series
from evalhub_server.models.common import State
from evalhub_server.models.job import CollectionRef, JobRequest, JobTest, Model
from evalhub_server.testing.builders import a_job


def a_run(**weights: float) -> JobRecord:
    plan = JobPlan(
        benchmarks=tuple(
            PlannedBenchmark(id=name, provider_id="p", weight=each) for name, each in weights.items()
        )
    )
    return a_job(
        request=JobRequest(
            name="n", model=Model(name="m", url="http://m.test"), collection=CollectionRef(id="k")
        ),
        plan=plan,
        benchmarks=tuple(
            BenchmarkRecord(index=index, state=State.COMPLETED) for index in range(len(weights))
        ),
        test=JobTest(score=0.5, threshold=0.4, passed=True),
    )


def test_a_score_has_what_changed_since_the_one_before() -> None:
    jobs = [a_run(a=1, b=1), a_run(a=1, b=1), a_run(a=2, b=1), a_run(a=2)]
    (series,) = collection_series(jobs)
    changed = [
        [(each.name, each.baseline, each.candidate, each.benchmarks) for each in point.changed]
        for point in series.points
    ]
    assert changed == [
        [],
        [],
        [("weights", "1", "2", ("p/a",))],
        [("benchmarks", "p/a, p/b", "p/a", ())],
    ]


def test_long_lists_of_benchmarks_are_cut() -> None:
    names = [f"benchmark-{number}" for number in range(50)]
    (series,) = collection_series([a_run(a=1), a_run(**dict.fromkeys(names, 1.0))])
    (change,) = series.points[1].changed
    assert change.candidate is not None
    assert (len(change.candidate), change.candidate[-1]) == (201, "…")
