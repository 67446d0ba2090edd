"""Progress and preliminary metrics in the reports of adapters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from evalhub_server.domain.benchmark_progress import (
    MAX_MESSAGE_CHARACTERS,
    MAX_PHASES,
    merged_progress,
    progress_fault,
)
from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.record import INTERRUPTED, Exit, JobRecord
from evalhub_server.domain.transitions import apply_event, cancel, exited
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.progress import Progress
from evalhub_server.testing.builders import a_job

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)


def event(status: str, **fields: Any) -> BenchmarkEvent:
    return BenchmarkEvent(provider_id="provider-a", id="bench-0", status=status, **fields)


def running(done: int, total: int = 40, at: datetime = NOON, **fields: Any) -> JobRecord:
    return apply_event(a_job(), event("running", progress={"done": done, "total": total}, **fields), at)


def test_the_status_has_the_last_progress_and_when_it_came():
    job = apply_event(running(1), event("running", progress={"done": 2, "total": 40, "message": "m"}), LATER)
    assert job_resource(job).status.benchmarks[0].progress == Progress(
        done=2, total=40, message="m", reported_at=LATER
    )


def test_an_event_without_progress_keeps_the_known_one():
    job = apply_event(running(7), event("running", phase="post_processing"), LATER)
    assert job.benchmarks[0].progress == Progress(done=7, total=40, reported_at=NOON)


def test_a_repeated_progress_changes_nothing():
    job = running(7)
    assert apply_event(job, event("running", progress={"done": 7, "total": 40}), LATER) is job


def test_a_finished_benchmark_keeps_its_progress_and_accepts_the_repetition_of_its_end():
    end = event("completed", metrics={"acc": 1.0}, progress={"done": 40, "total": 40})
    job = apply_event(running(7), end, NOON)
    assert job.benchmarks[0].progress == Progress(done=40, total=40, reported_at=NOON)
    assert apply_event(job, end, LATER) is job


@pytest.mark.parametrize(
    "value",
    [
        "half", 7, True, [], {}, {"done": 1}, {"total": 2}, {"done": -1, "total": 2}, {"done": True, "total": 2},
        {"done": "1", "total": 2}, {"done": 1, "total": None}, {"done": 1, "total": 2, "message": 3},
        {"done": float("inf"), "total": 2}, {"done": float("nan"), "total": 2},
    ],
)  # fmt: skip
def test_an_unusable_progress_is_as_if_it_were_absent(value: Any):
    assert progress_fault(value)
    job = running(7)
    assert apply_event(job, event("running", progress=value), LATER) is job
    job = a_job()
    assert apply_event(job, event("running", progress=value), NOON) == apply_event(
        job, event("running"), NOON
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"done": 0, "total": 0}, (0, 0, "")),
        ({"Done": 0.5, "TOTAL": 1, "message": None}, (0.5, 1, "")),
        ({"done": 3, "total": 2, "message": "\x1b[31mred\r\nline"}, (3, 2, "red\nline")),
        ({"done": 2**60, "total": 2**60, "message": "x" * 900}, (2.0**60, 2.0**60, "x" * MAX_MESSAGE_CHARACTERS)),
    ],
)  # fmt: skip
def test_usable_values(value: Any, expected: tuple[float, float, str]):
    assert progress_fault(value) == ""
    progress = merged_progress(None, value, NOON)
    assert progress is not None
    assert (progress.done, progress.total, progress.message) == expected


def test_preliminary_metrics_are_part_of_the_status_and_never_of_the_results():
    resource = job_resource(running(7, metrics={"acc": 0.25}))
    assert resource.status.benchmarks[0].running_metrics == {"acc": 0.25}
    assert resource.results.benchmarks == ()


def test_a_completed_benchmark_has_no_preliminary_metrics():
    job = apply_event(running(7, metrics={"acc": 0.25}), event("completed", metrics={"acc": 1.0}), LATER)
    assert job.benchmarks[0].running_metrics == {}


@pytest.mark.parametrize("end", ["failed", "exited", "cancelled"])
def test_a_benchmark_that_ends_otherwise_keeps_what_it_last_reported(end: str):
    job = running(7, metrics={"acc": 0.25})
    if end == "failed":
        job = apply_event(job, event("failed"), LATER)
    elif end == "exited":
        job = exited(job, 0, Exit(code=1), "", LATER)
    else:
        job = cancel(job, LATER)
    assert job.benchmarks[0].running_metrics == {"acc": 0.25}
    assert job.benchmarks[0].progress == Progress(done=7, total=40, reported_at=NOON)
    result = job.benchmarks[0].result
    assert result is None or result.metrics == {}


def test_a_late_result_replaces_a_provisional_failure_and_its_repetition_succeeds():
    late = event("completed", metrics={"acc": 1.0}, progress={"done": 40, "total": 40})
    job = apply_event(exited(running(7, metrics={"acc": 0.25}), 0, Exit(code=1), "", NOON), late, LATER)
    assert job.benchmarks[0].running_metrics == {}
    assert apply_event(job, late, LATER) is job


def phases_of(job: JobRecord) -> list[tuple[str, float | None]]:
    return [(each.phase, each.duration_s) for each in job_resource(job).status.benchmarks[0].phases]


def test_each_phase_has_its_duration():
    job = a_job()
    for second, phase in enumerate(
        ("initializing", "loading_data", "loading_data", "", "running_evaluation")
    ):
        job = apply_event(job, event("running", phase=phase), NOON + timedelta(seconds=second))
    assert phases_of(job) == [("initializing", 1.0), ("loading_data", 3.0), ("running_evaluation", None)]
    ended = apply_event(job, event("completed", phase="completed", metrics={"acc": 1.0}), LATER)
    assert phases_of(ended)[2:] == [("running_evaluation", 296.0)]
    assert ended.benchmarks[0].phase == "completed"
    assert phases_of(cancel(job, LATER))[2:] == [("running_evaluation", 296.0)]


def test_a_benchmark_that_ended_earlier_by_its_own_clock_has_a_phase_without_length():
    job = apply_event(a_job(), event("running", phase="loading_data"), NOON)
    job = apply_event(job, event("completed", completed_at="2026-01-01T00:00:00Z"), LATER)
    assert phases_of(job) == [("loading_data", 0.0)]


def test_the_next_attempt_has_phases_of_its_own():
    job = apply_event(a_job(), event("running", phase="loading_data"), NOON)
    job = exited(job, 0, Exit(reason=INTERRUPTED), None, LATER, restart_interrupted=True)
    assert (job.benchmarks[0].attempt, phases_of(job)) == (2, [])


def test_a_repeated_phase_changes_nothing_and_their_number_is_bounded():
    job = apply_event(a_job(), event("running", phase="loading_data"), NOON)
    assert apply_event(job, event("running", phase="loading_data"), LATER) is job
    for _ in range(MAX_PHASES):
        for phase in ("running_evaluation", "loading_data"):
            job = apply_event(job, event("running", phase=phase), LATER)
    assert len(job.benchmarks[0].phases) == MAX_PHASES
    assert job.benchmarks[0].phase == "loading_data"
