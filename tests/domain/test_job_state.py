"""The state of a job follows from the states of its benchmarks (rest-api §4.4)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evalhub_server.domain.job_state import (
    MAX_FAILURE_CHARACTERS,
    MAX_FAILURES,
    job_state,
    with_derived_state,
)
from evalhub_server.domain.record import BenchmarkRecord, JobRecord, ResultRecord, with_changes
from evalhub_server.models.common import Message, State
from evalhub_server.models.job import BenchmarkTest
from evalhub_server.testing.builders import a_job

P, R, C, F, X = State.PENDING, State.RUNNING, State.COMPLETED, State.FAILED, State.CANCELLED
PARTLY = State.PARTIALLY_FAILED


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([P], P),
        ([P, P, P], P),
        ([R], R),
        ([P, R], R),
        ([C, P], R),
        ([F, P], R),
        ([X, P], R),
        ([C, R], R),
        ([F, F, R], R),
        ([C, F, X, P], R),
        ([C], C),
        ([C, C, C], C),
        ([F], F),
        ([F, F], F),
        ([C, F], PARTLY),
        ([F, C, C], PARTLY),
        ([X], X),
        ([X, X], X),
        ([C, X], PARTLY),
        ([F, X], PARTLY),
        ([C, F, X], PARTLY),
    ],
)
def test_the_first_fitting_row_decides_the_state(states: list[State], expected: State) -> None:
    assert job_state(states) is expected


@pytest.mark.parametrize("state", list(State))
def test_only_pending_and_running_are_not_terminal(state: State) -> None:
    assert state.terminal is (state not in (P, R))


def test_the_message_of_a_job_is_bounded() -> None:
    long = "cause " + "x" * 100_000 + " end of the log"
    job = with_derived_state(a_job_of(*[F] * 10_000, errors=(long,) * 10_000))
    text = job.progress.message.message
    assert text.startswith("Evaluation job is failed. \nBenchmark bench-0 failed with message: cause x")
    assert "x end of the log\nBenchmark" in text
    assert text.endswith("\n… and 9,980 more\n")
    assert len(text) < MAX_FAILURES * (MAX_FAILURE_CHARACTERS + 100)


def a_job_of(*states: State, errors: tuple[str, ...] = ()) -> JobRecord:
    benchmarks = tuple(
        BenchmarkRecord(
            index=index,
            state=state,
            error=Message(message=errors[index], message_code="x")
            if index < len(errors) and errors[index]
            else None,
        )
        for index, state in enumerate(states)
    )
    return a_job(size=len(states), benchmarks=benchmarks)


@pytest.mark.parametrize(
    ("job", "text"),
    [
        (a_job_of(R, P), "Evaluation job is running"),
        (a_job_of(C, C), "Evaluation job is completed"),
        (
            a_job_of(F, errors=("boom",)),
            "Evaluation job is failed. \nBenchmark bench-0 failed with message: boom\n",
        ),
        (
            a_job_of(F, F, errors=("one", "two")),
            (
                "Evaluation job is failed. \nBenchmark bench-0 failed with message: one\n"
                "Benchmark bench-1 failed with message: two\n"
            ),
        ),
        (a_job_of(F, F), "Evaluation job is failed. \n"),
        (
            a_job_of(C, F, errors=("", "two")),
            "Some of the benchmarks failed. \nBenchmark bench-1 failed with message: two\n",
        ),
        (
            a_job_of(X, F, errors=("cancelled", "two")),
            "Some of the benchmarks failed or cancelled. \nBenchmark bench-1 failed with message: two\n",
        ),
        (a_job_of(C, X), "Some of the benchmarks failed or cancelled. \n"),
        (a_job_of(X, X), "Evaluation job is cancelled"),
    ],
)
def test_the_message_says_what_the_state_is(job: JobRecord, text: str) -> None:
    assert with_derived_state(job).progress.message == Message(
        message=text, message_code="evaluation_job_updated", message_origin="server"
    )


def test_a_completed_benchmark_with_an_error_message_is_not_listed_as_a_failure() -> None:
    assert (
        "ignored"
        not in with_derived_state(a_job_of(C, F, errors=("ignored", "boom"))).progress.message.message
    )


def test_a_job_that_stays_open_in_the_same_state_is_the_same_object() -> None:
    job = with_derived_state(a_job_of(R, P))
    assert with_derived_state(job) is job


def test_a_cancelled_job_is_not_folded_again() -> None:
    job = with_changes(a_job_of(C, C), state=X, cancelled=True)
    assert with_derived_state(job) is job


def with_a_test(job: JobRecord) -> JobRecord:
    test = BenchmarkTest(primary_score=0.9, primary_score_metric="acc", threshold=0.5, passed=True)
    return with_changes(
        job, benchmarks=tuple(replace(b, result=ResultRecord(test=test)) for b in job.benchmarks)
    )


def test_a_completed_job_has_an_overall_test() -> None:
    test = with_derived_state(with_a_test(a_job_of(C, C))).progress.test
    assert test is not None
    assert (test.score, test.threshold, test.passed) == (0.9, 0.5, True)


@pytest.mark.parametrize("states", [(C, F), (F, F), (C, X), (C, R)])
def test_a_job_that_is_not_completed_has_no_overall_test(states: tuple[State, ...]) -> None:
    assert with_derived_state(with_a_test(a_job_of(*states))).progress.test is None


def test_a_completed_job_without_any_benchmark_test_has_no_overall_test() -> None:
    assert with_derived_state(a_job_of(C, C)).progress.test is None
