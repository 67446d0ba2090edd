"""Times of jobs, benchmarks and resources while clocks are set back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.domain.timeline import earlier_of, later_of, moment_of
from evalhub_server.domain.transitions import apply_event, cancel, exited, launch_intended, timed_out
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import a_job

NOON = datetime(2026, 1, 12, 12, tzinfo=UTC)
BEFORE = NOON - timedelta(hours=3)


def an_event(status: str, index: int = 0, **fields: str) -> BenchmarkEvent:
    return BenchmarkEvent(
        provider_id="provider-a", id=f"bench-{index}", benchmark_index=index, status=status, **fields
    )


@pytest.mark.parametrize(
    ("time", "other", "earlier", "later"),
    [
        ("2026-01-12T11:00:00+02:00", "2026-01-12T10:00:00Z", 0, 1),
        ("2026-01-12T10:00:00Z", "2026-01-12T11:00:00.5+02:00", 1, 0),
        ("2026-01-12T10:00:00Z", "2026-01-12T10:00:00.000000001Z", 0, 0),
        ("2026-01-12T10:00:00Z", "", 0, 0),
        ("", "2026-01-12T10:00:00Z", 0, 0),
        ("2026-01-12", "2026-01-11T23:59:59-00:00", 1, 0),
    ],
)
def test_times_are_compared_as_moments(time: str, other: str, earlier: int, later: int) -> None:
    assert earlier_of(time, other) == (time, other)[earlier]
    assert later_of(time, other) == (time, other)[later]


@pytest.mark.parametrize("time", ["2026-01-12T12:00:00Z", "2026-01-12t12:00:00z", "2026-01-12T12:00:00"])
def test_a_moment_is_read_in_either_case_and_in_utc(time: str) -> None:
    assert moment_of(time) == NOON


def test_a_duration_is_known_of_times_in_lower_case() -> None:
    event = an_event("completed", started_at="2026-01-12t01:00:00z", completed_at="2026-01-12t01:00:05z")
    assert apply_event(running(a_job(size=1)), event, NOON).duration_s == 5.0


def running(job: JobRecord) -> JobRecord:
    return apply_event(launch_intended(job, 0, NOON, runtime="local"), an_event("running"), NOON)


@pytest.mark.parametrize(
    "end",
    [
        lambda job: apply_event(job, an_event("completed"), BEFORE),
        lambda job: apply_event(job, an_event("failed"), BEFORE),
        lambda job: apply_event(job, an_event("completed", completed_at="2026-01-12T01:00:00Z"), NOON),
        lambda job: apply_event(job, an_event("completed", started_at="2027-01-12T01:00:00Z"), NOON),
        lambda job: exited(job, 0, Exit(code=1), "", BEFORE),
        lambda job: timed_out(job, 0, "run", 5, "", BEFORE),
        lambda job: cancel(job, BEFORE),
    ],
)
def test_a_benchmark_completes_no_earlier_than_it_starts(end: Callable[[JobRecord], JobRecord]) -> None:
    job = end(running(a_job()))
    benchmark = job.benchmarks[0]
    started, completed = map(datetime.fromisoformat, (benchmark.started_at, benchmark.completed_at))
    assert completed >= started
    assert job.progress.updated_at >= job.created_at
    assert job.progress.updated_at >= NOON


def test_a_reported_completion_is_kept_and_its_repeat_changes_nothing() -> None:
    event = an_event("completed", completed_at="2026-01-12T01:00:00Z")
    job = apply_event(running(a_job()), event, NOON)
    assert job.benchmarks[0].completed_at == "2026-01-12T01:00:00Z"
    assert job.benchmarks[0].started_at == "2026-01-12T01:00:00Z"
    assert apply_event(job, event, NOON) is job


@given(
    st.lists(
        st.tuples(st.sampled_from(["pending", "running", "completed"]), st.integers(-50, 50)), max_size=6
    )
)
def test_the_time_of_the_last_update_never_decreases(steps: list[tuple[str, int]]) -> None:
    job = a_job(size=3)
    for index, (status, minutes) in enumerate(steps[:3]):
        event = an_event(status, index)
        after = apply_event(job, event, NOON + timedelta(minutes=minutes))
        assert after.progress.updated_at >= job.progress.updated_at >= job.created_at
        job = after
