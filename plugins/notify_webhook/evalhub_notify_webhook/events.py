"""Events of jobs and the content of their messages."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    BenchmarkRecord,
    BenchmarkTest,
    JobRecord,
    JobTest,
    Message,
    PlannedBenchmark,
    State,
    has_new_outcome,
    redacted_message,
    redacted_text,
)

CREATED, RUNNING, DELETED = "job.created", "job.running", "job.deleted"
FINISHED = ("job.completed", "job.partially_failed", "job.failed", "job.cancelled")
EVENTS = (CREATED, RUNNING, *FINISHED, DELETED)

_IDS = UUID("0e1f8e1c-8b0b-5f0e-9d5c-6a9f6a3f5f11")


class BenchmarkSummary(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """State and verdict of one benchmark at the time of sending."""

    id: str
    provider_id: str
    benchmark_index: int
    status: State
    test: BenchmarkTest | None = None


class JobSummary(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job at the time of sending. ``href`` is the path of the whole job in the REST API."""

    id: str
    href: str
    name: str
    tenant: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    model_name: str = ""
    collection_id: str = ""
    mlflow_experiment_id: str = ""
    created_at: datetime
    updated_at: datetime
    state: State
    message: Message
    test: JobTest | None = None
    benchmarks: tuple[BenchmarkSummary, ...] = ()


class WebhookMessage(Struct, kw_only=True, frozen=True):
    """The body of a message. ``timestamp`` is the time of the event, which may be long before that of sending."""

    type: str
    timestamp: datetime
    data: JobSummary


def event_of(before: JobRecord | None, after: JobRecord) -> str | None:
    """The event that corresponds to a change, if any."""
    if before is None:
        return CREATED
    if has_new_outcome(before, after) or (after.state is State.RUNNING and before.state is not State.RUNNING):
        return f"job.{after.state}"
    return None


def message_id(job: JobRecord, event: str, revision: int) -> str:
    """The id of a message, equal for all attempts, so that receivers recognize duplicates."""
    return f"msg_{uuid5(_IDS, f'{job.id} {event} {revision}').hex}"


def body(job: JobRecord, event: str, happened_at: datetime) -> bytes:
    """The encoded message about an event."""
    request = job.request
    summary = JobSummary(
        id=job.id,
        href=f"/api/v1/evaluations/jobs/{job.id}",
        name=request.name,
        tenant=job.tenant,
        owner=job.owner,
        tags=request.tags,
        model_name=redacted_text(request.model.name) if request.model else "",
        collection_id=request.collection.id if request.collection else "",
        mlflow_experiment_id=job.experiment.id if job.experiment else "",
        created_at=job.created_at,
        updated_at=job.progress.updated_at,
        state=job.state,
        message=redacted_message(job.progress.message),
        test=job.progress.test,
        benchmarks=tuple(_benchmark(job.plan.benchmarks[b.index], b) for b in job.benchmarks),
    )
    return msgspec.json.encode(WebhookMessage(type=event, timestamp=happened_at, data=summary))


def _benchmark(planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> BenchmarkSummary:
    return BenchmarkSummary(
        id=planned.id,
        provider_id=planned.provider_id,
        benchmark_index=benchmark.index,
        status=benchmark.state,
        test=benchmark.result.test if benchmark.result else None,
    )
