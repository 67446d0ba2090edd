"""Rows of exported tables."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.export_rows import COLUMNS, LEVELS, rows_of, sample_row
from evalhub_server.domain.record import (
    BenchmarkRecord,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    ResultRecord,
    with_changes,
)
from evalhub_server.models.common import Message, PrimaryScore, State
from evalhub_server.models.job import BenchmarkTest, JobTest, Model
from evalhub_server.testing.builders import a_job


def completed() -> JobRecord:
    planned = (
        PlannedBenchmark(
            provider_id="p",
            id="b",
            primary_score=PrimaryScore(metric="acc"),
            threshold=0.5,
            parameters={"num_examples": 3, "api_key": "sk-1", "url": "http://u:p@h/x"},
        ),
        PlannedBenchmark(provider_id="p", id="c"),
    )
    benchmarks = (
        BenchmarkRecord(
            index=0,
            state=State.COMPLETED,
            started_at="2026-01-01T00:00:00Z",
            completed_at="2026-01-01T00:00:05Z",
            result=ResultRecord(
                metrics={"acc": 0.75, "acc_stderr": 0.1, "note": "x"},
                test=BenchmarkTest(
                    primary_score=0.75, primary_score_metric="acc", threshold=0.5, passed=True
                ),
            ),
        ),
        BenchmarkRecord(index=1, state=State.FAILED, error=Message(message="token=abcdef refused")),
    )
    job = a_job(
        plan=JobPlan(benchmarks=planned),
        benchmarks=benchmarks,
        state=State.PARTIALLY_FAILED,
        tags=("x", "y"),
        test=JobTest(score=0.75, threshold=0.5, passed=True),
    )
    model = Model(name="m", url="http://user:secret@model/v1")
    return with_changes(job, request=replace(job.request, model=model))


def test_a_job_is_one_row():
    job = completed()
    (row,) = rows_of(job, "jobs")
    cells = dict(zip(COLUMNS["jobs"], row, strict=True))
    assert cells | {"created_at": "", "name": ""} == {
        "job_id": job.id,
        "name": "",
        "state": "partially_failed",
        "created_at": "",
        "duration_s": 5.0,
        "owner": "",
        "model_name": "m",
        "model_url": "http://***@model/v1",
        "collection_id": "",
        "experiment": "",
        "tags": ("x", "y"),
        "benchmarks": 2,
        "completed": 1,
        "failed": 1,
        "score": 0.75,
        "threshold": 0.5,
        "passed": True,
        "derived_from": "",
    }


def test_a_benchmark_is_one_row_with_its_primary_metric():
    first, second = (
        dict(zip(COLUMNS["benchmarks"], row, strict=True)) for row in rows_of(completed(), "benchmarks")
    )
    wanted = ("provider_id", "benchmark_id", "state", "metric", "value", "stderr", "threshold", "passed")
    assert [first[name] for name in wanted] == ["p", "b", "completed", "acc", 0.75, 0.1, 0.5, True]
    assert first["parameters"] == {"num_examples": 3, "api_key": "***", "url": "http://***@h/x"}
    assert first["metrics"] == {"acc": 0.75, "acc_stderr": 0.1, "note": "x"}
    assert [second[name] for name in wanted] == ["p", "c", "failed", "", None, None, None, None]
    assert second["error"] == "token=*** refused"


def test_a_sample_is_one_row():
    job = completed()
    sample = {"sample_id": "q", "epoch": 0, "outcome": "passed", "metrics": {"acc": True}, "input": ["x"]}
    row = dict(zip(COLUMNS["samples"], sample_row(job, 0, sample), strict=True))
    assert {name: value for name, value in row.items() if value is not None} == {
        "job_id": job.id,
        "model_name": "m",
        "benchmark_index": 0,
        "provider_id": "p",
        "benchmark_id": "b",
        "sample_id": "q",
        "epoch": 0,
        "outcome": "passed",
        "metric": "acc",
        "value": 1.0,
        "metrics": {"acc": True},
        "input": ["x"],
    }


def test_every_row_has_every_column():
    for level in LEVELS[:2]:
        for row in rows_of(a_job(size=3), level):
            assert len(row) == len(COLUMNS[level])
