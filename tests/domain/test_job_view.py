"""The job resource that clients read (rest-api §3.9, 3.10)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.record import (
    BenchmarkRecord,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    ResultRecord,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.models.common import HardwareConfig, Message, PassCriteria, PrimaryScore, State
from evalhub_server.models.job import (
    BenchmarkTest,
    Exports,
    JobRequest,
    JobTest,
    MetricSchema,
    Model,
    OciCoordinates,
    OciExport,
)
from evalhub_server.testing.builders import a_job

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def read(job: JobRecord) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(job_resource(job)))


def test_a_pending_job_lists_its_benchmarks_and_has_empty_results() -> None:
    resource = read(a_job(id="j", size=2, created_at=NOON))
    assert resource["resource"] == {
        "id": "j",
        "created_at": "2026-05-01T12:00:00Z",
        "updated_at": "2026-05-01T12:00:00Z",
    }
    assert resource["status"]["state"] == "pending"
    assert resource["status"]["benchmarks"] == [
        {"provider_id": "provider-a", "id": f"bench-{i}", "benchmark_index": i, "status": "pending"}
        for i in (0, 1)
    ]
    assert resource["results"] == {}


def test_times_have_microseconds() -> None:
    job = a_job(created_at=NOON, updated_at=NOON + timedelta(microseconds=1234))
    assert read(job)["resource"]["updated_at"] == "2026-05-01T12:00:00.001234Z"


def test_owner_tenant_and_experiment_are_shown_when_there_are_any() -> None:
    job = a_job(tenant="t", owner="o", experiments={"mlflow": TrackedExperiment(id="7", url="http://mlflow")})
    resource = read(job)
    assert resource["resource"]["tenant"] == "t"
    assert resource["resource"]["owner"] == "o"
    assert resource["resource"]["mlflow_experiment_id"] == "7"
    assert resource["results"] == {"mlflow_experiment_url": "http://mlflow"}


def a_job_with(result: ResultRecord | None, **fields: Any) -> JobRecord:
    return a_job(benchmarks=(BenchmarkRecord(index=0, result=result, **fields),))


def test_metrics_without_a_description_are_numeric_and_sorted() -> None:
    result = ResultRecord(
        metrics={"described": [1]} | dict.fromkeys("zyxwvutsrqponmabcdefghijkl", 1),
        metrics_schema=(MetricSchema(name="described", type="array_ordered"),),
    )
    shown = read(a_job_with(result))["results"]["benchmarks"][0]["metrics_schema"]
    assert shown == [
        {"name": "described", "type": "array_ordered"},
        *({"name": name, "type": "numeric"} for name in "abcdefghijklmnopqrstuvwxyz"),
    ]
    assert len(result.metrics_schema) == 1


def test_an_empty_result_is_only_its_names() -> None:
    assert read(a_job_with(ResultRecord()))["results"]["benchmarks"] == [
        {"id": "bench-0", "provider_id": "provider-a", "benchmark_index": 0}
    ]


def test_a_failing_test_shows_zero_and_false() -> None:
    test = BenchmarkTest(primary_score=0.0, primary_score_metric="acc", threshold=0.0, passed=False)
    job = a_job(
        benchmarks=(BenchmarkRecord(index=0, result=ResultRecord(test=test)),),
        test=JobTest(score=0.0, threshold=0.0, passed=False),
    )
    results = read(job)["results"]
    assert results["test"] == {"score": 0.0, "threshold": 0.0, "pass": False}
    assert results["benchmarks"][0]["test"] == {
        "primary_score": 0.0,
        "primary_score_metric": "acc",
        "threshold": 0.0,
        "pass": False,
    }


def test_results_list_what_is_left_out_where_no_score_is_left() -> None:
    test = BenchmarkTest(primary_score=12.5, primary_score_metric="ppl", threshold=20.0, passed=True)
    score = PrimaryScore(metric="ppl", lower_is_better=True)
    planned = PlannedBenchmark(id="b", provider_id="p", primary_score=score, threshold=20.0)
    job = a_job(
        benchmarks=(BenchmarkRecord(index=0, state=State.COMPLETED, result=ResultRecord(test=test)),),
        plan=JobPlan(benchmarks=(planned,)),
        state=State.COMPLETED,
    )
    assert read(job)["results"]["left_out"] == [
        {
            "benchmark_index": 0,
            "provider_id": "p",
            "id": "b",
            "metric": "ppl",
            "reason": "lower is better, and 12.5 is outside [0, 1]",
        }
    ]
    assert "test" not in read(job)["results"]
    without = with_changes(
        job, benchmarks=(BenchmarkRecord(index=0, state=State.COMPLETED, result=ResultRecord()),)
    )
    assert "left_out" not in read(without)["results"]


def test_a_benchmark_shows_what_it_reported_and_nothing_of_its_workload() -> None:
    message = Message(message="m", message_code="c", message_origin="runtime")
    job = a_job_with(
        None,
        state=State.CANCELLED,
        phase="loading_data",
        error=message,
        warning=message,
        started_at="2026-01-12T10:45:32Z",
        completed_at="2026-01-12T10:45:33Z",
        launched_at=NOON,
        handle={"pid": 1},
        provisional=True,
    )
    shown = {"message": "m", "message_code": "c", "message_origin": "runtime"}
    assert read(job)["status"]["benchmarks"] == [
        {
            "provider_id": "provider-a",
            "id": "bench-0",
            "benchmark_index": 0,
            "status": "cancelled",
            "phase": "loading_data",
            "error_message": shown,
            "warning_message": shown,
            "started_at": "2026-01-12T10:45:32Z",
            "completed_at": "2026-01-12T10:45:33Z",
        }
    ]


def test_objects_that_were_given_empty_are_shown_empty() -> None:
    request = JobRequest(
        name="j",
        description="",
        model=Model(name="m"),
        custom={},
        exports=Exports(),
        hardware_config=HardwareConfig(),
        pass_criteria=PassCriteria(threshold=0.0),
    )
    resource = read(a_job(request=request))
    assert resource["description"] == ""
    assert resource["custom"] == resource["exports"] == resource["hardware_config"] == {}
    assert resource["model"] == {"url": "", "name": "m"}
    assert resource["pass_criteria"] == {"threshold": 0.0}


def test_requests_of_all_exporters_are_shown_as_they_came() -> None:
    oci = OciExport(coordinates=OciCoordinates(oci_host="h", oci_repository="r"))
    shown = {"oci": {"coordinates": {"oci_host": "h", "oci_repository": "r"}}}
    for exports, expected in [
        (Exports(oci=oci), shown),
        (Exports(oci=oci, others={"shelf": {"x": None}}), {**shown, "shelf": {"x": None}}),
        (Exports(others={"shelf": 5}), {"shelf": 5}),
    ]:
        request = JobRequest(name="j", model=Model(name="m"), exports=exports)
        assert read(a_job(request=request))["exports"] == expected


def test_what_was_not_given_is_not_shown() -> None:
    request = JobRequest(name="j", model=Model(url="http://m", name="m"))
    assert set(read(a_job(request=request))) == {"resource", "status", "results", "name", "model"}


def test_the_plan_is_not_shown() -> None:
    plan = JobPlan(
        benchmarks=(PlannedBenchmark(id="b", provider_id="p", parameters={"secret": 1}),),
        runtimes={"p": {"local": {"command": "x"}}},
    )
    text = msgspec.json.encode(job_resource(a_job(plan=plan))).decode()
    assert "command" not in text
    assert "secret" not in text
