"""State, message and overall test of a job, derived from its benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, with_changes
from evalhub_server.domain.scoring import job_test
from evalhub_server.models.common import Message, State

MAX_FAILURES = 20
MAX_FAILURE_CHARACTERS = 4000


def job_state(states: Sequence[State]) -> State:
    """The state of a job with these states of benchmarks; the first matching rule applies."""
    total = len(states)
    completed = states.count(State.COMPLETED)
    failed, cancelled = states.count(State.FAILED), states.count(State.CANCELLED)
    if completed == total:
        return State.COMPLETED
    if failed == total:
        return State.FAILED
    if completed + failed == total:
        return State.PARTIALLY_FAILED
    if cancelled == total:
        return State.CANCELLED
    if completed + failed + cancelled == total:
        return State.PARTIALLY_FAILED
    if completed or failed or cancelled or State.RUNNING in states:
        return State.RUNNING
    return State.PENDING


def with_derived_state(job: JobRecord, changed: int | None = None) -> JobRecord:
    """Update state, message and overall test to the benchmarks; a cancelled job is returned unchanged.

    ``changed`` is the index of the only benchmark that changed since the last call; without it, all are looked at.
    """
    progress = job.progress
    if progress.cancelled:
        return job
    state = None if changed is None else _state_of_unfinished(job, changed)
    if state is None:
        state = job_state([b.state for b in job.benchmarks])
    test = None
    if state is State.COMPLETED:
        test = job_test(job.plan, [b.result.test if b.result else None for b in job.benchmarks])
    message = _MESSAGES.get(state) or _message(_failure_text(state, job.plan, job.benchmarks))
    if state is progress.state and message.message == progress.message.message and test == progress.test:
        return job
    return with_changes(job, state=state, message=message, test=test)


def _state_of_unfinished(job: JobRecord, changed: int) -> State | None:
    """The state after a change of one benchmark, without a look at all of them; None if that is not enough.

    Benchmarks start in the order of their index, so one that follows the changed one is usually unfinished.
    """
    benchmarks = job.benchmarks
    state = benchmarks[changed].state
    if not state.terminal:
        if state is State.RUNNING:
            return state
        return state if job.state is state else None
    others = chain(range(changed + 1, len(benchmarks)), range(changed))
    return State.RUNNING if any(not benchmarks[index].state.terminal for index in others) else None


def _message(text: str) -> Message:
    return Message(message=text, message_code="evaluation_job_updated", message_origin="server")


_MESSAGES = {
    state: _message(f"Evaluation job is {state.value}")
    for state in (State.PENDING, State.RUNNING, State.COMPLETED, State.CANCELLED)
}


def _failure_text(state: State, plan: JobPlan, benchmarks: Sequence[BenchmarkRecord]) -> str:
    if state is State.FAILED:
        return "Evaluation job is failed. \n" + _failures(plan, benchmarks)
    some_cancelled = any(b.state is State.CANCELLED for b in benchmarks)
    which = "failed or cancelled" if some_cancelled else "failed"
    return f"Some of the benchmarks {which}. \n" + _failures(plan, benchmarks)


def _failures(plan: JobPlan, benchmarks: Sequence[BenchmarkRecord]) -> str:
    failed = [(b.index, b.error) for b in benchmarks if b.state is State.FAILED and b.error is not None]
    text = "".join(
        f"Benchmark {plan.benchmarks[index].id} failed with message: {_shortened(error.message)}\n"
        for index, error in failed[:MAX_FAILURES]
    )
    more = len(failed) - MAX_FAILURES
    return f"{text}… and {more:,} more\n" if more > 0 else text


def _shortened(message: str) -> str:
    """Leave out the middle: the cause stands at the beginning, or at the end of the log that is quoted."""
    if len(message) <= MAX_FAILURE_CHARACTERS:
        return message
    return f"{message[: MAX_FAILURE_CHARACTERS // 2]}…{message[-MAX_FAILURE_CHARACTERS // 2 :]}"
