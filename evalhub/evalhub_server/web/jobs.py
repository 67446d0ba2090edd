"""``/api/v1/evaluations/jobs``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.types import ControllerRouterHandler

from evalhub_server.domain import problems
from evalhub_server.domain.card import card_json
from evalhub_server.domain.job_view import job_resource
from evalhub_server.domain.validation import decode, validate
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.models.card import EvaluationCard
from evalhub_server.models.common import Page, State
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import JobRequest, JobResource
from evalhub_server.plugins.storage import JobQuery
from evalhub_server.web.body import read_body
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, LIST, not_found
from evalhub_server.web.openapi.operation import Answer, Body, Link, Operation, links, names
from evalhub_server.web.openapi.parameters import LIMIT, NAME, OFFSET, OWNER, TAGS, boolean, terms
from evalhub_server.web.query import Query
from evalhub_server.web.request_context import context
from evalhub_server.web.response_cache import RecordEncoder
from evalhub_server.web.responses import NO_CONTENT, Reply, encode, json_response

AnyRequest = Request[Any, Any, Any]
FILTERS = (
    LIMIT,
    OFFSET,
    terms("status", "The state, such as `running`.", negatable=True),
    NAME,
    TAGS,
    OWNER,
    terms("experiment_id", "The tracker's id of the experiment.", negatable=True),
)
ALLOWED = names(FILTERS)
HARD_DELETE = boolean("hard_delete", "Remove the job, its results and its files, too.", default=False)

ON_A_JOB = ("get_job", "get_card", "delete_job", "job_logs")
JOB_LINKS = (
    *links("job_id", "$response.body#/resource/id", *ON_A_JOB),
    Link(
        operation="report_event",
        parameters={"job_id": "$response.body#/resource/id"},
        body={
            "benchmark_status_event": {
                "provider_id": "$response.body#/status/benchmarks/0/provider_id",
                "id": "$response.body#/status/benchmarks/0/id",
                "benchmark_index": 0,
                "status": "running",
            }
        },
    ),
    Link(
        operation="benchmark_logs",
        parameters={"job_id": "$response.body#/resource/id", "benchmark_index": "0"},
    ),
)


def job_routes(jobs: JobService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(job_resource)

    @post(
        "/api/v1/evaluations/jobs",
        status_code=202,
        operation=Operation(
            body=Body(
                type=JobRequest,
                examples={"benchmarks": examples.JOB, "collection": examples.COLLECTION_JOB},
            ),
            answer=Answer(
                status=202,
                text="The job is stored and waits for its turn.",
                type=JobResource,
                links=JOB_LINKS,
                example=examples.pending_job,
            ),
            errors=(
                problems.validation_failed(
                    "Key: 'EvaluationJobConfig.name' Error:Field validation for 'name' failed on the 'required' tag"
                ),
                problems.resolved_sha_read_only(),
                problems.collection_empty("my-collection"),
                problems.does_not_exist("benchmark", "no_such_benchmark"),
                problems.model_url_required(),
                problems.mlflow_required(),
                problems.mlflow_request_failed("connection refused"),
                problems.invalid_secret_ref_uri("my-secret"),
                problems.invalid_secret_ref_uri_parse("file://%zz", "invalid URL escape"),
                problems.not_found("provider", "no_such_provider"),
                problems.not_found("collection", "no_such_collection"),
                problems.hardware_profile_not_found("a100"),
                problems.hardware_profile_disabled("a100"),
                problems.hardware_profile_invalid("a100", "identifiers are missing"),
                problems.hardware_profile_fetch_failed("a100"),
            ),
        ),
    )
    async def create_job(request: AnyRequest) -> Reply:
        """Submit a job.

        It runs the `benchmarks` that it names, or those of a `collection`. Everything is checked before anything is
        stored. What providers and collections say at this moment is what the job runs, whatever becomes of them later.
        """
        body = decode(await read_body(request, body_limit_bytes), JobRequest)
        validate(body, "EvaluationJobConfig")
        job = await jobs.create(body, context(request).identity)
        return json_response(encoder(job) + b"\n", 202)

    @get(
        "/api/v1/evaluations/jobs",
        operation=Operation(
            query=FILTERS,
            answer=Answer(
                text="One page of jobs.",
                type=Page[JobResource],
                example=examples.jobs,
            ),
            errors=LIST,
        ),
    )
    async def list_jobs(request: AnyRequest) -> Reply:
        """List jobs, the newest first."""
        query = Query(request.scope)
        limit, offset = query.page()
        query.allow_only(ALLOWED)
        page = await jobs.list(_job_query(query, limit, offset, context(request).identity))
        first, following = query.links(limit, offset, page.total_count)
        items = [msgspec.Raw(encoder(job)) for job in page.items]
        return json_response(
            encode(Page(first=first, next=following, limit=limit, total_count=page.total_count, items=items))
        )

    @get(
        "/api/v1/evaluations/jobs/{job_id:str}",
        operation=Operation(
            answer=Answer(text="The job.", type=JobResource, example=examples.completed_job),
            errors=(not_found("evaluation job"),),
        ),
    )
    async def get_job(request: AnyRequest, job_id: str) -> Reply:
        """Read a job: its state, that of its benchmarks, and the results so far."""
        job = await jobs.get(job_id, context(request).identity)
        return json_response(encoder(job) + b"\n")

    @get(
        "/api/v1/evaluations/jobs/{job_id:str}/card",
        operation=Operation(
            answer=Answer(text="The card.", type=EvaluationCard, example=examples.card),
            errors=(not_found("evaluation job"),),
        ),
    )
    async def get_card(request: AnyRequest, job_id: str) -> Reply:
        """Read the evaluation card of a job: what was asked and what came of it, for archives."""
        job = await jobs.get(job_id, context(request).identity)
        return json_response(card_json(job) + b"\n")

    @delete(
        "/api/v1/evaluations/jobs/{job_id:str}",
        status_code=200,  # 204 is in the answer; see responses
        operation=Operation(
            query=(HARD_DELETE,),
            answer=Answer(status=204, text="Nothing of the job runs any more."),
            errors=(
                problems.query_parameter_invalid("hard_delete", "boolean", "maybe"),
                not_found("evaluation job"),
                problems.job_closed(ID, "cancelled", State.COMPLETED),
            ),
        ),
    )
    async def delete_job(request: AnyRequest, job_id: str) -> Reply:
        """Cancel a job, or remove it.

        What runs of it is asked to end, and forced to a little later. Without `hard_delete` the job and its logs stay, and
        only a job that has not ended can be cancelled; cancelling it again changes nothing.

        If the storage is away (503), what runs is stopped even so, and with `hard_delete` the files are removed if it can be
        read. That the job is cancelled is stored when the storage is back, unless the server is restarted before.
        """
        identity = context(request).identity
        if Query(request.scope).boolean("hard_delete", default=False):
            await jobs.delete(job_id, identity)
        else:
            await jobs.cancel(job_id, identity)
        return NO_CONTENT

    @post(
        "/api/v1/evaluations/jobs/{job_id:str}/events",
        status_code=200,
        operation=Operation(
            body=Body(
                type=StatusEvent,
                examples={
                    "running": examples.RUNNING,
                    "completed": examples.COMPLETED,
                    "failed": examples.FAILED,
                },
            ),
            answer=Answer(status=204, text="The event is part of the job."),
            errors=(
                problems.validation_failed("status must be one of: pending, running, completed, failed"),
                not_found("evaluation job"),
                problems.not_found("benchmark", "arithmetic"),
                problems.job_closed(ID, "running", State.CANCELLED),
            ),
        ),
    )
    async def report_event(request: AnyRequest, job_id: str) -> Reply:
        """Report what a benchmark does. Adapters call this.

        Fields that are absent keep what is known. A repeat is a success, a step back is ignored, and a benchmark or job that
        has ended refuses anything else with 409.

        If the storage is away (503), the server keeps the event in memory and stores it later; a restart forgets it, so it
        should be sent again.
        """
        body = decode(await read_body(request, body_limit_bytes), StatusEvent)
        validate(body, "StatusEvent")
        assert body.benchmark_status_event is not None  # noqa: S101  required, so validated
        await jobs.report(job_id, body.benchmark_status_event, context(request).identity)
        return NO_CONTENT

    return [create_job, list_jobs, get_job, get_card, delete_job, report_event]


def _job_query(query: Query, limit: int, offset: int, identity: Identity) -> JobQuery:
    return JobQuery(
        tenant=identity.scope,
        limit=limit,
        offset=offset,
        status=query.terms("status", negatable=True),
        name=query.terms("name"),
        tags=query.terms("tags"),
        owner=query.terms("owner", negatable=True),
        experiment_id=query.terms("experiment_id", negatable=True),
    )
