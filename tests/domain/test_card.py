"""The evaluation card (rest-api §8.4), against the cards that the released server uploaded."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.domain.card import card_json, evaluation_card, format_g
from evalhub_server.domain.record import JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.domain.transitions import apply_event, cancel, new_job
from evalhub_server.models.common import Message, PassCriteria, PrimaryScore
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import BenchmarkRef, CollectionRef, JobRequest, Model

SAMPLES = Path(__file__).parent.parent / "fixtures" / "rest"
ACC = PrimaryScore(metric="acc")
NOON = datetime(2026, 5, 1, 12, 0, 0, 999_999, tzinfo=UTC)
REFS = (
    BenchmarkRef(id="pb1", provider_id="p", parameters={"num_examples": 3.7, "x": 1}),
    BenchmarkRef(id="pb3", provider_id="p"),
)
PLANNED = (
    PlannedBenchmark(id="pb1", provider_id="p", primary_score=ACC, threshold=0.5),
    PlannedBenchmark(id="pb3", provider_id="p"),
)


def a_job(*planned: PlannedBenchmark, model: Model | None = None, **request: Any) -> JobRecord:
    asked = JobRequest(name="spec", model=model or Model(url="http://m", name="m"), **request)
    return new_job("j", asked, JobPlan(benchmarks=planned), NOON)


def finished(job: JobRecord, **events: dict[str, Any]) -> JobRecord:
    """``events`` by benchmark id; what is not given completes without a word."""
    for index, planned in enumerate(job.plan.benchmarks):
        fields = {"status": "completed", **events.get(planned.id, {})}
        event = BenchmarkEvent(provider_id="p", id=planned.id, benchmark_index=index, **fields)
        job = apply_event(job, event, NOON)
    return job


def read(job: JobRecord) -> dict[str, Any]:
    return json.loads(card_json(job))


def recorded(name: str, collection_id: str = "") -> dict[str, Any]:
    """A recorded card with the ids and times of these tests."""
    text = (SAMPLES / f"evaluation-card-{name}.json").read_text()
    card = json.loads(text)
    for replaced, by in (
        (card["metadata"]["evaluation_job_id"], "j"),
        (card["results"]["benchmarks"][0]["provider_id"], "p"),
        (card["metadata"]["updated_at"], "2026-05-01T12:00:00Z"),
        (card["metadata"]["created_at"], "2026-05-01T12:00:00Z"),
        (card["context"].get("collection_id", "-"), collection_id or "-"),
    ):
        text = text.replace(replaced, by)
    return json.loads(text)


def test_the_card_of_a_direct_job_is_the_recorded_one_and_has_the_overall_test_too() -> None:
    card = read(finished(a_job(*PLANNED, benchmarks=REFS), pb1={"metrics": {"acc": 0.75}}))
    assert card["results"].pop("test") == {"score": 0.75, "threshold": 0.5, "pass": True}
    assert card == recorded("direct")


def test_the_card_of_a_collection_job_is_the_recorded_one() -> None:
    job = a_job(PLANNED[0], collection=CollectionRef(id="c"))
    assert read(finished(job, pb1={"metrics": {"acc": 0.75}})) == recorded("collection", "c")


def test_a_collection_job_without_a_verdict_has_no_collection_part() -> None:
    results = read(finished(a_job(PLANNED[1], collection=CollectionRef(id="c"))))["results"]
    assert results.keys() == {"status", "benchmarks"}


def test_the_context_repeats_the_request_and_the_results_repeat_the_reports() -> None:
    ref = BenchmarkRef(
        id="pb1", provider_id="p", weight=2.0, primary_score=ACC, pass_criteria=PassCriteria(threshold=0.25)
    )
    job = a_job(
        PLANNED[0], benchmarks=(ref,), model=Model(url="http://m", name="m", card_url="http://m/card")
    )
    fields = {
        "metrics": {"acc": 0.5, "label": "good"},
        "additional_info": {"shots": [0, 5]},
        "artifacts": {"folder": "/results"},
        "mlflow_run_id": "r1",
        "logs_path": "/logs",
    }
    card = read(finished(job, pb1=fields))
    assert card["context"] == {
        "model": {"url": "http://m", "name": "m", "model_card_url": "http://m/card"},
        "benchmarks": [
            {
                "id": "pb1",
                "provider_id": "p",
                "weight": 2.0,
                "primary_score": {"metric": "acc"},
                "pass_criteria": {"threshold": 0.25},
            }
        ],
    }
    benchmark = card["results"]["benchmarks"][0]
    assert {name: benchmark[name] for name in fields} == fields
    assert [schema["name"] for schema in benchmark["metrics_schema"]] == ["acc", "label"]


def test_a_failure_and_its_reason_are_on_the_card() -> None:
    why = {"message": "no such model", "message_code": "model_missing"}
    failed = {"status": "failed", "error_message": Message(**why)}
    card = read(finished(a_job(PLANNED[1], benchmarks=REFS[1:]), pb3=failed))
    assert card["results"]["status"]["state"] == "failed"
    assert card["results"]["benchmarks"] == [
        {
            "id": "pb3",
            "provider_id": "p",
            "status": "failed",
            "error_message": {**why, "message_origin": "runtime"},
        }
    ]


def test_a_card_says_of_every_job_how_far_it_is() -> None:
    pending = a_job(*PLANNED, benchmarks=REFS)
    assert read(pending)["results"]["status"]["state"] == "pending"
    assert [b["status"] for b in read(pending)["results"]["benchmarks"]] == ["pending", "pending"]
    assert evaluation_card(cancel(pending, NOON)).results.status.state == "cancelled"


def test_a_card_has_no_secrets_and_the_job_keeps_them() -> None:
    parameters = {
        "api_key": "s3cr3t",
        "max_tokens": 5,
        "tokenizer": "t",
        "headers": [{"Authorization": "s3cr3t"}],
    }
    fields = {
        "metrics": {"acc": 0.5, "token": 3},
        "additional_info": {"endpoint": "https://me:s3cr3t@host/v1"},
        "artifacts": {"report": "https://store/r?X-Amz-Signature=s3cr3t"},
        "logs_path": "https://store/l?token=s3cr3t",
        "warning_message": Message(message="slow: https://me:s3cr3t@host/v1", message_code="slow"),
    }
    failed = {
        "status": "failed",
        "error_message": Message(message="no answer from https://host/v1?key=s3cr3t", message_code="e"),
    }
    job = a_job(
        *PLANNED,
        benchmarks=(BenchmarkRef(id="pb1", provider_id="p", parameters=parameters), REFS[1]),
        model=Model(
            url="https://me:s3cr3t@host/v1?api_key=s3cr3t&v=1", name="m", card_url="https://s3cr3t@c"
        ),
    )
    job = finished(job, pb1=fields, pb3=failed)
    card = read(job)
    assert "s3cr3t" not in json.dumps(card)
    assert card["context"]["model"]["url"] == "https://***@host/v1?api_key=***&v=1"
    assert card["context"]["benchmarks"][0]["parameters"] == {
        "api_key": "***",
        "max_tokens": 5,
        "tokenizer": "t",
        "headers": [{"Authorization": "***"}],
    }
    assert card["results"]["benchmarks"][0]["metrics"] == {"acc": 0.5, "token": 3}
    assert job.request.benchmarks[0].parameters == parameters


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.75, "0.75"),
        (1.0, "1"),
        (0.0, "0"),
        (-0.0, "-0"),
        (100.0, "100"),
        (123456.5, "123456.5"),
        (1e6, "1e+06"),
        (1234567.5, "1.2345675e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-2.5e-7, "-2.5e-07"),
        (1e21, "1e+21"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (5e-324, "5e-324"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_numbers_are_written_as_percent_g_does_and_can_be_read_back(number: float, text: str) -> None:
    assert format_g(number) == text
    assert float(text) == number
