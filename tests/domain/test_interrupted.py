"""Workloads that a stop of the server or its host ended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evalhub_server.domain import transitions
from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.models.common import State
from evalhub_server.testing.builders import a_job

NOW = datetime(2026, 1, 1, tzinfo=UTC)
INTERRUPTED = Exit(signal="SIGTERM", reason="interrupted")


def launched_job() -> JobRecord:
    job = transitions.launch_intended(a_job(size=1), 0, NOW, runtime="hand")
    return transitions.launched(job, 0, {"index": 0}, runtime="hand")


def test_an_interrupted_benchmark_fails_with_that_code():
    (benchmark,) = transitions.exited(launched_job(), 0, INTERRUPTED, "", NOW).benchmarks
    assert benchmark.state is State.FAILED
    assert benchmark.error is not None
    assert benchmark.error.message_code == "interrupted"
    assert "supervisor.restart_interrupted" in benchmark.error.message


def test_an_interrupted_benchmark_waits_for_its_next_attempt_at_most_five_times():
    job = launched_job()
    attempts: list[int] = []
    while not job.state.terminal:
        job = transitions.launch_intended(job, 0, NOW, runtime="hand")
        attempts.append(job.benchmarks[0].attempt)
        job = transitions.exited(job, 0, INTERRUPTED, "", NOW, restart_interrupted=True)
    assert attempts == [1, 2, 3, 4, 5]
    assert job.state is State.FAILED


@pytest.mark.parametrize("exit_", [Exit(signal="SIGTERM"), Exit(code=1), Exit(lost=True)])
def test_another_exit_is_final(exit_: Exit):
    job = transitions.exited(launched_job(), 0, exit_, "", NOW, restart_interrupted=True)
    assert job.state is State.FAILED
