"""Lineages of jobs, and the result that counts for each benchmark."""

from __future__ import annotations

from typing import Any

from evalhub_server.domain.lineage_view import is_complete, lineages_of, view_of_job, view_of_lineage
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark, ResultRecord
from evalhub_server.models.common import State
from evalhub_server.testing.builders import a_job

DONE, FAILED = State.COMPLETED, State.FAILED


def a_run(states: dict[str, State], **fields: Any) -> JobRecord:
    """A job whose benchmarks ended in these states."""
    planned = tuple(PlannedBenchmark(id=name[0], provider_id="p") for name in states)
    results = tuple(
        BenchmarkRecord(index=index, state=state, result=ResultRecord() if state is DONE else None)
        for index, state in enumerate(states.values())
    )
    return a_job(plan=JobPlan(benchmarks=planned), benchmarks=results, **fields)


def sources(view: Any) -> dict[str, tuple[str, int]]:
    return {name: (source.job.id, source.index) for name, source in view.items()}


def test_a_job_of_its_own_is_its_view() -> None:
    job = a_run({"a": DONE, "b": FAILED})
    assert sources(view_of_job(job, [job])) == {"p/a": (job.id, 0), "p/b": (job.id, 1)}
    assert not is_complete(view_of_job(job, [job]))


def test_a_repeated_benchmark_completes_the_view_of_both_jobs() -> None:
    job = a_run({"a": DONE, "b": FAILED, "c": DONE})
    again = a_run({"b": DONE}, derived_from=job.id, lineage=job.id, origins=(1,))
    expected = {"p/a": (job.id, 0), "p/b": (again.id, 0), "p/c": (job.id, 2)}
    for each in (job, again):
        view = view_of_job(each, [job, again])
        assert sources(view) == expected
        assert is_complete(view)


def test_a_benchmark_that_a_job_has_twice_keeps_its_name_in_a_rerun() -> None:
    job = a_run({"a": DONE, "a again": FAILED})
    again = a_run({"a": DONE}, derived_from=job.id, lineage=job.id, origins=(1,))
    assert sources(view_of_job(again, [job, again])) == {"p/a": (job.id, 0), "p/a#2": (again.id, 0)}


def test_a_job_shows_its_own_results_and_a_lineage_the_newest() -> None:
    job = a_run({"a": DONE})
    again = a_run({"a": DONE}, derived_from=job.id, lineage=job.id, origins=(0,))
    assert sources(view_of_job(job, [job, again])) == {"p/a": (job.id, 0)}
    assert sources(view_of_job(again, [job, again])) == {"p/a": (again.id, 0)}
    assert sources(view_of_lineage([again, job])) == {"p/a": (again.id, 0)}


def test_a_failed_repetition_replaces_no_result() -> None:
    job = a_run({"a": DONE, "b": FAILED})
    again = a_run({"a": FAILED, "b": FAILED}, derived_from=job.id, lineage=job.id, origins=(0, 1))
    assert sources(view_of_lineage([job, again])) == {"p/a": (job.id, 0), "p/b": (again.id, 1)}


def test_a_view_survives_the_deletion_of_the_first_job() -> None:
    again = a_run({"b": DONE}, derived_from="gone", lineage="gone", origins=(1,))
    assert sources(view_of_job(again, [again])) == {"p/b": (again.id, 0)}


def test_jobs_are_grouped_by_lineage_the_oldest_first() -> None:
    first, other = a_run({"a": FAILED}), a_run({"a": DONE})
    second = a_run({"a": FAILED}, derived_from=first.id, lineage=first.id)
    third = a_run({"a": DONE}, derived_from=second.id, lineage=first.id)
    orphan = a_run({"a": DONE}, derived_from="gone", lineage="gone")
    groups = lineages_of([third, orphan, other, second, first])
    assert sorted([[job.id for job in each] for each in groups]) == sorted(
        [[first.id, second.id, third.id], [other.id], [orphan.id]]
    )
