"""Warnings about results that cannot be taken at face value."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.domain.record import BenchmarkRecord, PlannedBenchmark, ResultRecord
from evalhub_server.domain.result_warnings import result_warnings
from evalhub_server.models.common import PrimaryScore, State
from evalhub_server.models.sample import SampleSet

PLANNED = PlannedBenchmark(
    id="b", provider_id="p", primary_score=PrimaryScore(metric="acc"), parameters={"num_examples": 100}
)


def completed(metrics: dict[str, Any], **samples: Any) -> BenchmarkRecord:
    return BenchmarkRecord(
        index=0,
        state=State.COMPLETED,
        result=ResultRecord(metrics=metrics),
        samples=SampleSet(**samples) if samples else None,
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (completed({}), "Completed without metrics"),
        (
            completed({"acc": 0.5}, state="cut", count=100, message="more than 100"),
            "were cut (more than 100)",
        ),
        (completed({"acc": 0.5}, state="failed", message="disk full"), "could not be stored: disk full"),
        (
            completed({"acc": 0.5}, state="stored", count=100, means={"acc": 0.4}),
            "the mean of the samples 0.4",
        ),
        (completed({"acc": 0.5}, state="stored", count=60), "Fewer samples than requested: 60 of 100."),
        (completed({"acc": 0.5}, state="stored", count=100, bad_lines=3), "no samples: 3."),
    ],
)
def test_a_suspicious_result_has_a_warning(record: BenchmarkRecord, words: str) -> None:
    (text,) = result_warnings(PLANNED, record)
    assert words in text


@pytest.mark.parametrize(("value", "ignored"), [("many", True), (True, True), ("5", False), (5.0, False)])
def test_a_limit_that_is_no_number_has_a_warning(value: object, ignored: bool) -> None:
    planned = replace(PLANNED, parameters={"num_examples": value})
    found = result_warnings(planned, completed({"acc": 0.5}))
    assert found == ([f"num_examples was ignored, since it is no number: {value!r}."] if ignored else [])


def test_a_plain_result_and_an_unfinished_benchmark_have_none() -> None:
    assert result_warnings(PLANNED, completed({"acc": 0.5})) == []
    assert (
        result_warnings(PLANNED, completed({"acc": 0.5}, state="stored", count=100, means={"acc": 0.5})) == []
    )
    assert result_warnings(PLANNED, BenchmarkRecord(index=0, state=State.RUNNING)) == []
