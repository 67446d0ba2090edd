"""Examples of requests and responses; responses come from the code that creates the real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from evalhub_server.domain.card import evaluation_card
from evalhub_server.domain.job_checks import checked_benchmarks
from evalhub_server.domain.job_view import job_in_lineage, job_resource
from evalhub_server.domain.lineage import rerun_of
from evalhub_server.domain.planning import effective_benchmarks, plan
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import BaselineRecord, CollectionRecord
from evalhub_server.domain.resource_transitions import Creation, new_collection, new_provider
from evalhub_server.domain.resource_transitions import clone as clone_of
from evalhub_server.domain.resource_view import baseline_resource, collection_resource, provider_resource
from evalhub_server.domain.samples import parse_sample, shown_line
from evalhub_server.domain.transitions import apply_event, new_job
from evalhub_server.domain.trends import trend_series
from evalhub_server.models.baseline import Baseline, BaselineConfig
from evalhub_server.models.card import EvaluationCard
from evalhub_server.models.collection import CollectionConfig, CollectionResource
from evalhub_server.models.common import Json, Link, Page, PassCriteria, PrimaryScore
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import JobRequest, JobResource
from evalhub_server.models.job_check import JobCheck
from evalhub_server.models.job_page import JobFacet, JobResourcePage
from evalhub_server.models.provider import Provider, ProviderConfig
from evalhub_server.models.sample import (
    Artifact,
    ArtifactList,
    Facet,
    FacetValue,
    Sample,
    SamplePage,
    SampleSet,
    SampleTimeline,
    TimelineBucket,
)
from evalhub_server.models.trend import Trends
from evalhub_server.web.openapi.errors import ID

BASELINE_ID = "3f8e9c52-6c1b-5a0e-8a57-9b1d7f4c2e60"
RERUN_ID = "c1d8a0e5-3f0e-4c55-9a0c-2d8e6f1b7a34"
CREATED = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
CREATION = Creation(id=ID, owner="ada", now=CREATED)
REPORTED = datetime(2026, 3, 2, 9, 31, 12, 250_000, tzinfo=UTC)

JOB: Json = {
    "name": "nightly",
    "description": "Arithmetic, every night",
    "tags": ["nightly"],
    "model": {"url": "http://localhost:11434/v1", "name": "llama3.2"},
    "benchmarks": [
        {
            "provider_id": "quickstart",
            "id": "arithmetic",
            "primary_score": {"metric": "accuracy"},
            "pass_criteria": {"threshold": 0.7},
            "parameters": {"num_examples": 20},
        }
    ],
}
COLLECTION_JOB: Json = {
    "name": "all of them",
    "model": {"url": "http://localhost:11434/v1", "name": "llama3.2"},
    "collection": {"id": "quickstart-v1"},
}
RUNNING: Json = {
    "benchmark_status_event": {
        "provider_id": "quickstart",
        "id": "arithmetic",
        "benchmark_index": 0,
        "status": "running",
        "phase": "running_evaluation",
        "started_at": "2026-03-02T09:30:05Z",
    }
}
COMPLETED: Json = {
    "benchmark_status_event": {
        "provider_id": "quickstart",
        "id": "arithmetic",
        "benchmark_index": 0,
        "status": "completed",
        "metrics": {"accuracy": 0.85, "num_samples": 20},
        "metrics_schema": [{"name": "accuracy", "type": "numeric"}],
        "completed_at": "2026-03-02T09:31:12Z",
    }
}
FAILED: Json = {
    "benchmark_status_event": {
        "provider_id": "quickstart",
        "id": "arithmetic",
        "benchmark_index": 0,
        "status": "failed",
        "error_message": {"message": "The model did not answer.", "message_code": "model_unreachable"},
    }
}
PROVIDER: Json = {
    "name": "my-framework",
    "title": "My evaluation framework",
    "runtime": {"local": {"command": "python /opt/my_framework/main.py"}},
    "benchmarks": [
        {
            "id": "my_benchmark",
            "name": "My benchmark",
            "category": "reasoning",
            "metrics": ["acc"],
            "primary_score": {"metric": "acc", "lower_is_better": False},
            "pass_criteria": {"threshold": 0.25},
        }
    ],
}

COLLECTION: Json = {
    "name": "Nightly",
    "category": "smoke test",
    "pass_criteria": {"threshold": 0.6},
    "benchmarks": [
        {"provider_id": "quickstart", "id": "arithmetic", "weight": 2},
        {"provider_id": "quickstart", "id": "json_format"},
    ],
}


def pending_job() -> JobResource:
    return job_resource(_new_job())


def completed_job() -> JobResource:
    return job_resource(completed_job_record())


def rerun() -> JobResource:
    original = completed_job_record()
    job = rerun_of(original, (0,), RERUN_ID, datetime(2026, 3, 3, 8, tzinfo=UTC), owner="ada")
    return job_in_lineage(job, (original, job))


def job_check() -> JobCheck:
    plan = _new_job().plan
    return JobCheck(
        valid=True, runtime="local", benchmarks=checked_benchmarks(plan, "local"), threshold=plan.threshold
    )


def trends() -> Trends:
    return Trends(series=trend_series([completed_job_record()]), jobs=1, total_count=1)


def baseline() -> Baseline:
    config = BaselineConfig(name="nightly", job_id=ID)
    creation: Json = {"id": BASELINE_ID, "owner": "ada", "created_at": REPORTED, "updated_at": REPORTED}
    return baseline_resource(BaselineRecord(**creation, config=config))


def baselines() -> Page[Baseline]:
    return _page("baselines", baseline())


def card() -> EvaluationCard:
    return evaluation_card(completed_job_record())


def jobs() -> JobResourcePage:
    address = "/api/v1/evaluations/jobs?facets=status&limit=1"
    return JobResourcePage(
        first=Link(href=address),
        next=Link(href=f"{address}&offset=1"),
        limit=1,
        total_count=2,
        items=[completed_job()],
        facets=(
            JobFacet(name="status", jobs=2, distinct=1, values=(FacetValue(value="completed", count=2),)),
        ),
    )


def provider() -> Provider:
    return provider_resource(new_provider(msgspec.convert(PROVIDER, ProviderConfig), CREATION))


def providers() -> Page[Provider]:
    return _page("providers", provider())


def collection() -> CollectionResource:
    return collection_resource(_collection(), {})


def collections() -> Page[CollectionResource]:
    return _page("collections", collection())


def clone() -> CollectionResource:
    overrides = CollectionConfig(pass_criteria=PassCriteria(threshold=0.9))
    creation = msgspec.structs.replace(CREATION, id="9a1d2b0c-7e55-4b0e-9d53-2f0f8f6f4a77")
    return collection_resource(clone_of(_collection(), overrides, {}, creation), {})


def _collection() -> CollectionRecord:
    return new_collection(msgspec.convert(COLLECTION, CollectionConfig), {}, CREATION)


def _new_job() -> JobRecord:
    request = msgspec.convert(JOB, JobRequest)
    offered = msgspec.convert({"name": "quickstart", "benchmarks": [{"id": "arithmetic"}]}, ProviderConfig)
    planned = plan(request, None, effective_benchmarks(request, None), {"quickstart": offered})
    return new_job(ID, request, planned, CREATED, owner="ada")


def completed_job_record() -> JobRecord:
    job = _new_job()
    for body in (RUNNING, COMPLETED):
        event = msgspec.convert(body, StatusEvent).benchmark_status_event
        assert event is not None  # noqa: S101  see above
        job = apply_event(job, event, REPORTED)
    return job


def _page(name: str, item: Any) -> Page[Any]:
    address = f"/api/v1/evaluations/{name}"
    return Page(
        first=Link(href=f"{address}?limit=1"),
        next=Link(href=f"{address}?limit=1&offset=1"),
        limit=1,
        total_count=2,
        items=[item],
    )


SAMPLE_LINE = (
    '{"sample_id": "q-17", "metrics": {"accuracy": 1}, "input": "17 + 25 = ?", "output": "42", "target": "42", '
    '"latency_s": 0.31}\n'
)


def sample_set() -> SampleSet:
    return SampleSet(
        state="stored",
        count=1,
        bytes=130,
        digest="d1" * 32,
        metrics=("accuracy",),
        means={"accuracy": 1.0},
        outcomes={"passed": 1},
        item_set_hash="5e" * 32,
        artifacts=(artifact(),),
    )


def samples() -> SamplePage:
    sample = parse_sample(SAMPLE_LINE.encode(), PrimaryScore(metric="accuracy"))
    shown = msgspec.json.decode(shown_line(sample.line, sample.outcome, sample.key_hash), type=Sample)
    return SamplePage(
        first=Link(href=f"/api/v1/evaluations/jobs/{ID}/benchmarks/0/samples?facets=outcome"),
        limit=50,
        total_count=1,
        items=(shown,),
        facets=(Facet(name="outcome", distinct=1, values=(FacetValue(value="passed", count=1),)),),
    )


def sample_timeline() -> SampleTimeline:
    start = datetime(2026, 3, 2, 9, 30, 5, tzinfo=UTC)
    counts: list[dict[str, int]] = [{"passed": 7, "failed": 2}, {"passed": 8, "error": 1}]
    return SampleTimeline(
        bucket_s=1.0,
        buckets=tuple(
            TimelineBucket(start=start + timedelta(seconds=second), outcomes=each)
            for second, each in enumerate(counts)
        ),
    )


def artifact() -> Artifact:
    return Artifact(name="logs/run.eval", bytes=48_213, digest="a7" * 32)


def artifacts() -> ArtifactList:
    return ArtifactList(items=(artifact(),))
