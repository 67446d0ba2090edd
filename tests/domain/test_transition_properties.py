"""Invariants of the state machine under any sequence of what can happen to a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain import transitions
from evalhub_server.domain.job_state import job_state
from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.record import BenchmarkRecord, Exit, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.errors import ApiError
from evalhub_server.models.common import GitRef, Message, PrimaryScore, State, TestDataRef
from evalhub_server.models.event import PHASES, BenchmarkEvent, EventMetricSchema, JobMeta
from evalhub_server.testing.builders import EPOCH, a_job

SIZE = 3
Step = Callable[[JobRecord, Any], JobRecord]


def a_scored_job() -> JobRecord:
    planned = tuple(
        PlannedBenchmark(
            id=f"bench-{index}",
            provider_id="provider-a",
            primary_score=PrimaryScore(metric="acc", lower_is_better=index == 1),
            threshold=0.5,
            weight=index + 1.0,
            test_data_ref=TestDataRef(git=GitRef(url="https://h.com/x", ref="main")),
        )
        for index in range(SIZE)
    )
    return a_job(size=SIZE, plan=JobPlan(benchmarks=planned))


messages = st.none() | st.builds(
    Message, message=st.sampled_from(["boom", "bang"]), message_code=st.just("c")
)
metrics = st.dictionaries(
    st.sampled_from(["acc", "loss"]),
    st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=3) | st.booleans(),
)


@st.composite
def events(draw: st.DrawFn) -> BenchmarkEvent:
    index = draw(st.integers(0, SIZE))  # SIZE itself is out of range
    measured = draw(metrics)
    return BenchmarkEvent(
        provider_id="provider-a",
        id=f"bench-{index}",
        benchmark_index=index,
        status=draw(st.sampled_from(["pending", "running", "completed", "failed"])),
        phase=draw(st.sampled_from(["", *PHASES])),
        metrics=measured,
        metrics_schema=tuple(EventMetricSchema(name=name, type="numeric") for name in measured),
        error_message=draw(messages),
        warning_message=draw(messages),
        started_at=draw(st.sampled_from(["", "2026-01-12T10:45:32Z"])),
        completed_at=draw(st.sampled_from(["", "2026-01-12T10:45:32+02:00"])),
        job_meta=draw(st.none() | st.builds(JobMeta, resolved_sha=st.sampled_from(["", "abcdef1", "x"]))),
    )


def reported(event: BenchmarkEvent) -> Step:
    return lambda job, now: transitions.apply_event(job, event, now)


indices = st.integers(0, SIZE - 1)
exits = st.sampled_from([Exit(code=0), Exit(code=1), Exit(signal="SIGKILL"), Exit(lost=True)])


def an_exit(index: int, exit_: Exit) -> Step:
    return lambda job, now: transitions.exited(job, index, exit_, "log", now)


def a_timeout(index: int) -> Step:
    return lambda job, now: transitions.timed_out(job, index, "run", 1, "", now)


def a_failed_launch(index: int) -> Step:
    return lambda job, now: transitions.launch_failed(job, index, "no", now)


def an_intention(index: int) -> Step:
    return lambda job, now: transitions.launch_intended(job, index, now, runtime="local")


def a_launch(index: int) -> Step:
    return lambda job, _: transitions.launched(job, index, {"pid": index}, runtime="local")


steps = st.one_of(
    events().map(reported),
    events().map(reported),  # twice: reports are the most of what happens
    st.builds(an_exit, indices, exits),
    indices.map(a_timeout),
    indices.map(a_failed_launch),
    indices.map(an_intention),
    indices.map(a_launch),
    st.just(transitions.cancel),
)
histories = st.lists(steps, max_size=15)


def lived_through(history: list[Step]) -> list[JobRecord]:
    """The job after each step; a refused step leaves it as it was."""
    job = a_scored_job()
    states = [job]
    for number, step in enumerate(history):
        try:
            job = step(job, EPOCH + timedelta(hours=1, seconds=number))
        except ApiError as error:
            assert error.status in (404, 409)  # noqa: PT017  any other refusal is a defect
        states.append(job)
    return states


def may_follow(before: BenchmarkRecord, after: BenchmarkRecord) -> bool:
    if not before.state.terminal or after.state is before.state:
        return True
    return before.provisional and not after.provisional and after.state is State.COMPLETED


@given(histories)
def test_terminal_states_absorb_except_for_a_real_result_after_a_provisional_failure(
    history: list[Step],
) -> None:
    lives = lived_through(history)
    for before, after in pairwise(lives):
        assert all(map(may_follow, before.benchmarks, after.benchmarks))
        assert after.state.terminal or not before.state.terminal
        if before.progress.cancelled or before.state is State.COMPLETED:
            assert after.state is before.state
        if before.state.terminal and after.state is not before.state:
            assert any(b.provisional for b in before.benchmarks)


@given(histories)
def test_the_state_of_a_job_is_the_fold_of_its_benchmarks_unless_it_was_cancelled(
    history: list[Step],
) -> None:
    for job in lived_through(history):
        if job.progress.cancelled:
            assert job.state is State.CANCELLED
            assert all(b.state.terminal for b in job.benchmarks)
        else:
            assert job.state is job_state([b.state for b in job.benchmarks])
        assert (job.progress.test is not None) <= (job.state is State.COMPLETED)


@given(histories, events())
def test_the_second_of_two_equal_reports_changes_nothing(history: list[Step], event: BenchmarkEvent) -> None:
    job = lived_through(history)[-1]
    try:
        once = transitions.apply_event(job, event, EPOCH + timedelta(days=1))
    except ApiError:
        return
    assert transitions.apply_event(once, event, EPOCH + timedelta(days=2)) is once


@given(histories)
def test_a_step_shares_the_benchmarks_that_it_does_not_touch(history: list[Step]) -> None:
    lives = lived_through(history)
    for before, after in pairwise(lives):
        for old, new in zip(before.benchmarks, after.benchmarks, strict=True):
            assert new is old or new != old
        if after is not before and not (after.progress.cancelled and not before.progress.cancelled):
            changed = [b for b, a in zip(before.benchmarks, after.benchmarks, strict=True) if a is not b]
            assert len(changed) <= 1


@given(histories)
def test_records_survive_being_stored_as_json(history: list[Step]) -> None:
    job = lived_through(history)[-1]
    assert msgspec.json.decode(msgspec.json.encode(job), type=JobRecord) == job


@given(histories, events())
def test_a_stored_job_answers_a_report_as_the_one_in_memory_does(
    history: list[Step], event: BenchmarkEvent
) -> None:
    job = lived_through([*history, reported(event)])[-1]
    stored = msgspec.json.decode(msgspec.json.encode(job), type=JobRecord)
    now = EPOCH + timedelta(days=1)
    try:
        expected = transitions.apply_event(job, event, now)
    except ApiError as error:
        with pytest.raises(ApiError) as caught:
            transitions.apply_event(stored, event, now)
        assert caught.value.message == error.message  # noqa: PT017
    else:
        assert transitions.apply_event(stored, event, now) == expected


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(has_null(item) for item in value.values())  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return any(has_null(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return value is None


@given(histories)
def test_the_resource_that_clients_read_never_has_a_null(history: list[Step]) -> None:
    for job in lived_through(history):
        assert not has_null(msgspec.json.decode(msgspec.json.encode(job_resource(job))))
