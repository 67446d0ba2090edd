"""The recorded traffic of the released server, replayed against the domain."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.planning import plan, with_queue_kinds
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.transitions import apply_event, cancel, new_job
from evalhub_server.domain.validation import convert, decode, validate
from evalhub_server.errors import ApiError
from evalhub_server.models.event import BenchmarkEvent, StatusEvent
from evalhub_server.models.job import JobRequest, JobResource
from evalhub_server.models.provider import ProviderConfig

SAMPLES = Path(__file__).parent.parent / "fixtures" / "rest"
REFUSED_BY_VALIDATION = {"invalid_json_request", "request_validation_failed"}
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SERVER_SET = {"resource", "status", "results"}


def recorded(name: str) -> dict[str, Any]:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def names(pattern: str, *, but_not: tuple[str, ...] = ()) -> list[str]:
    found = sorted(path.stem for path in SAMPLES.glob(f"{pattern}.json"))
    assert found, "the samples are not where they should be"
    return [name for name in found if name not in but_not]


def body_of(sample: dict[str, Any]) -> bytes:
    body = sample["request"]["body"]
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def replay(name: str, type_: type[msgspec.Struct], heading: str) -> msgspec.Struct | None:
    """Decode and validate a recorded request; it has to end as it did when it was recorded."""
    sample = recorded(name)
    answer = sample["response"]["body"]
    code = answer["message_code"] if sample["response"]["status"] >= 400 else ""
    if code in REFUSED_BY_VALIDATION:
        with pytest.raises(ApiError) as caught:
            validate(decode(body_of(sample), type_), heading)
        assert (caught.value.status, caught.value.code) == (sample["response"]["status"], code)
        assert caught.value.message == answer["message"]
        return None
    value = decode(body_of(sample), type_)
    validate(value, heading)
    return value


@pytest.mark.parametrize("name", names("*job-create*"))
def test_a_recorded_job_is_accepted_or_refused_in_the_same_words(name: str) -> None:
    replay(name, JobRequest, "EvaluationJobConfig")


@pytest.mark.parametrize("name", names("event-*"))
def test_a_recorded_event_is_accepted_or_refused_in_the_same_words(name: str) -> None:
    replay(name, StatusEvent, "StatusEvent")


@pytest.mark.parametrize(
    "name", [name for name in names("job-create-*") if recorded(name)["response"]["status"] == 202]
)
def test_a_created_job_echoes_its_request_as_recorded(name: str) -> None:
    request = replay(name, JobRequest, "EvaluationJobConfig")
    assert isinstance(request, JobRequest)
    echoed = json.loads(msgspec.json.encode(with_queue_kinds(request)))
    answer = recorded(name)["response"]["body"]
    answer.get("collection", {}).pop("collection_updated_at", None)  # set from the collection
    assert echoed == {key: value for key, value in answer.items() if key not in SERVER_SET}


READS = names("job-get-*", but_not=("job-get-404",))


@pytest.mark.parametrize("name", READS)
def test_the_models_know_every_field_of_a_recorded_job(name: str) -> None:
    # Nanoseconds are cut: the server's times have microseconds.
    text = re.sub(r"(\.\d{6})\d{3}Z", r"\1Z", json.dumps(recorded(name)["response"]["body"]))
    resource = msgspec.json.decode(text, type=JobResource)
    assert json.loads(msgspec.json.encode(resource)) == json.loads(text)


def lived(body: dict[str, Any]) -> JobRecord:
    """A job that got the reports that led to the recorded resource."""
    provider = convert(recorded("provider-create")["request"]["body"], ProviderConfig)
    request = convert({key: value for key, value in body.items() if key not in SERVER_SET}, JobRequest)
    providers = {b.provider_id: provider for b in request.benchmarks}
    job = new_job(body["resource"]["id"], request, plan(request, None, request.benchmarks, providers), NOW)
    results = {r["benchmark_index"]: r for r in body["results"].get("benchmarks", ())}
    for status in body["status"].get("benchmarks", ()):
        report = {**results.get(status["benchmark_index"], {}), **status}
        if status["status"] == "cancelled":
            report |= {"status": "running", "error_message": None}
        report.pop("metrics_schema", None)  # filled in by the server
        job = apply_event(job, convert(report, BenchmarkEvent), NOW)
    return cancel(job, NOW) if body["status"]["state"] == "cancelled" else job


# A collection's members are not in the recorded resource, so those jobs can not be rebuilt from it.
@pytest.mark.parametrize("name", [name for name in READS if "collection" not in name])
def test_the_same_reports_lead_to_the_recorded_states_results_and_scores(name: str) -> None:
    body = recorded(name)["response"]["body"]
    made = json.loads(msgspec.json.encode(job_resource(lived(body))))
    assert made["status"]["state"] == body["status"]["state"]
    assert made["status"]["message"] == body["status"]["message"]
    for known in body["status"].get("benchmarks", ()):
        # The server adds times that were not reported; all that was recorded is there.
        assert known.items() <= made["status"]["benchmarks"][known["benchmark_index"]].items()
    assert made["results"].get("benchmarks") == body["results"].get("benchmarks")
    assert made["results"].get("test") == pytest.approx(body["results"].get("test"))


@pytest.mark.parametrize(
    ("sample", "statuses"),
    [
        ("event-after-terminal", ("completed", "completed")),
        ("event-running-after-terminal", ("completed", "completed")),
        ("event-after-cancel", ()),
    ],
)
def test_a_report_to_a_closed_job_is_refused_in_the_recorded_words(
    sample: str, statuses: tuple[str, ...]
) -> None:
    recording = recorded(sample)
    job = lived(recorded("job-get-pending")["response"]["body"])
    job = with_changes(job, id=recording["request"]["path"].split("/")[-2])
    for index, status in enumerate(statuses):
        ref = job.plan.benchmarks[index]
        event = BenchmarkEvent(provider_id=ref.provider_id, id=ref.id, benchmark_index=index, status=status)
        job = apply_event(job, event, NOW)
    job = job if statuses else cancel(job, NOW)
    late = decode(body_of(recording), StatusEvent).benchmark_status_event
    assert late is not None
    with pytest.raises(ApiError) as caught:
        apply_event(job, late, NOW)
    assert caught.value.status == recording["response"]["status"]
    assert caught.value.message == recording["response"]["body"]["message"]
