"""Reasons for a benchmark without samples."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from evalhub_server.domain import transitions
from evalhub_server.domain.record import BenchmarkRecord, Exit, JobRecord
from evalhub_server.domain.sample_transitions import nothing_left, reason_for_none, samples_expected
from evalhub_server.models.common import State
from evalhub_server.testing.builders import EPOCH, a_job


def launched() -> JobRecord:
    return transitions.launched(
        transitions.launch_intended(a_job(), 0, EPOCH, runtime="local"), 0, {"pid": 1}, runtime="local"
    )


@pytest.mark.parametrize(
    ("benchmark", "reason"),
    [
        (a_job().benchmarks[0], "its workload has not ended"),
        (launched().benchmarks[0], "its workload has not ended"),
        (replace(launched().benchmarks[0], state=State.COMPLETED), "its workload has not ended"),
        (transitions.cancel(a_job(), EPOCH).benchmarks[0], "it was not started"),
        (transitions.launch_failed(a_job(), 0, "no command", EPOCH).benchmarks[0], "it was not started"),
        (
            transitions.exited(launched(), 0, Exit(code=1), "", EPOCH).benchmarks[0],
            "its workload handed over none",
        ),
    ],
)
def test_a_benchmark_without_samples_has_a_reason(benchmark: BenchmarkRecord, reason: str) -> None:
    assert reason_for_none(benchmark) == reason


def test_the_samples_of_a_workload_whose_supervision_failed_are_expected() -> None:
    ended = transitions.launch_failed(launched(), 0, "supervision failed", EPOCH)
    assert samples_expected(ended, 0).benchmarks[0].samples is not None
    not_started = transitions.launch_failed(a_job(), 0, "no command", EPOCH)
    assert samples_expected(not_started, 0) is not_started


def test_a_workload_that_left_no_files_has_its_sample_set_with_the_exit() -> None:
    ended = transitions.exited(launched(), 0, Exit(code=0), None, EPOCH)
    assert samples_expected(ended, 0, left_files=False).benchmarks[0].samples == nothing_left(1)
