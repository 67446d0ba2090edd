"""Jobs: ``/api/v1/evaluations/jobs``."""

from __future__ import annotations

import msgspec
from litestar import Router, delete, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.card import card_json
from evalhub_server.domain.validation import decode, validate
from evalhub_server.engine.identity import Identity
from evalhub_server.errors import ApiError
from evalhub_server.models.card import EvaluationCard
from evalhub_server.models.common import Page, State
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import JobRequest, JobResource
from evalhub_server.plugins.storage import JobQuery
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, LIST, not_found
from evalhub_server.web.openapi.operation import Answer, Body, Link, Operation, links, names
from evalhub_server.web.openapi.parameters import LIMIT, NAME, OFFSET, OWNER, TAGS, boolean, terms
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import NO_CONTENT, Reply, encode, json_response
from evalhub_server.web.services import Services

CREATE_JOB = Operation(
    body=Body(type=JobRequest, examples={"benchmarks": examples.JOB, "collection": examples.COLLECTION_JOB}),
    answer=Answer(
        status=202,
        text="The job is stored and waits for its turn.",
        type=JobResource,
        links=(
            *links("job_id", "$response.body#/resource/id", "get_job", "get_card", "delete_job", "job_logs"),
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
        ),
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
        ApiError(
            400,
            "mlflow_request_failed",
            "The MLflow request failed: 'connection refused'. Please check the MLflow configuration and try again.",
        ),
        problems.invalid_secret_ref_uri("my-secret"),
        problems.invalid_secret_ref_uri_parse("file://%zz", "invalid URL escape"),
        problems.not_found("provider", "no_such_provider"),
        problems.not_found("collection", "no_such_collection"),
        problems.hardware_profile_not_found("a100"),
        problems.hardware_profile_disabled("a100"),
        problems.hardware_profile_invalid("a100", "identifiers are missing"),
        problems.hardware_profile_fetch_failed("a100"),
    ),
)


@post("/", status_code=202, operation=CREATE_JOB)
async def create_job(request: ApiRequest, services: NamedDependency[Services]) -> Reply:
    """Submit a job.

    It runs the `benchmarks` that it names, or those of a `collection`. Everything is checked before anything is
    stored. What providers and collections say at this moment is what the job runs, whatever becomes of them later.
    """
    body = decode(await request.body(), JobRequest)
    validate(body, "EvaluationJobConfig")
    job = await services.jobs.create(body, request.identity)
    return json_response(services.encode_job(job) + b"\n", 202)


JOB_FILTERS = (
    LIMIT,
    OFFSET,
    terms("status", "The state, such as `running`.", negatable=True),
    NAME,
    TAGS,
    OWNER,
    terms("experiment_id", "The tracker's id of the experiment.", negatable=True),
)
LIST_JOBS = Operation(
    query=JOB_FILTERS,
    answer=Answer(text="One page of jobs.", type=Page[JobResource], example=examples.jobs),
    errors=LIST,
)


@route("/", http_method=READ_METHODS, operation=LIST_JOBS)
async def list_jobs(request: ApiRequest, services: NamedDependency[Services]) -> Reply:
    """List jobs, the newest first."""
    query = Query(request.scope)
    limit, offset = query.page()
    query.allow_only(names(JOB_FILTERS))
    page = await services.jobs.list(_job_query(query, limit, offset, request.identity))
    first, following = query.links(limit, offset, page.total_count)
    items = [msgspec.Raw(services.encode_job(job)) for job in page.items]
    return json_response(
        encode(Page(first=first, next=following, limit=limit, total_count=page.total_count, items=items))
    )


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


GET_JOB = Operation(
    answer=Answer(text="The job.", type=JobResource, example=examples.completed_job),
    errors=(not_found("evaluation job"),),
)


@route("/{job_id:str}", http_method=READ_METHODS, operation=GET_JOB)
async def get_job(request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]) -> Reply:
    """Read a job: its state, that of its benchmarks, and the results so far."""
    job = await services.jobs.get(job_id, request.identity)
    return json_response(services.encode_job(job) + b"\n")


GET_CARD = Operation(
    answer=Answer(text="The card.", type=EvaluationCard, example=examples.card),
    errors=(not_found("evaluation job"),),
)


@route("/{job_id:str}/card", http_method=READ_METHODS, operation=GET_CARD)
async def get_card(request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]) -> Reply:
    """Read the evaluation card of a job: what was asked and what came of it, for archives."""
    job = await services.jobs.get(job_id, request.identity)
    return json_response(card_json(job) + b"\n")


HARD_DELETE = boolean("hard_delete", "Remove the job, its results and its files, too.", default=False)
DELETE_JOB = Operation(
    query=(HARD_DELETE,),
    answer=Answer(status=204, text="Nothing of the job runs any more."),
    errors=(
        problems.query_parameter_invalid("hard_delete", "boolean", "maybe"),
        not_found("evaluation job"),
        problems.job_closed(ID, "cancelled", State.COMPLETED),
    ),
)


@delete("/{job_id:str}", status_code=200, operation=DELETE_JOB)  # NO_CONTENT has the real status
async def delete_job(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Cancel a job, or remove it.

    What runs of it is asked to end, and forced to a little later. Without `hard_delete` the job and its logs stay, and
    only a job that has not ended can be cancelled; cancelling it again changes nothing.

    If the storage is away (503), what runs is stopped even so, and with `hard_delete` the files are removed if it can be
    read. That the job is cancelled is stored when the storage is back, unless the server is restarted before.
    """
    if Query(request.scope).boolean("hard_delete", default=False):
        await services.jobs.delete(job_id, request.identity)
    else:
        await services.jobs.cancel(job_id, request.identity)
    return NO_CONTENT


REPORT_EVENT = Operation(
    body=Body(
        type=StatusEvent,
        examples={"running": examples.RUNNING, "completed": examples.COMPLETED, "failed": examples.FAILED},
    ),
    answer=Answer(status=204, text="The event is part of the job."),
    errors=(
        problems.validation_failed("status must be one of: pending, running, completed, failed"),
        not_found("evaluation job"),
        problems.not_found("benchmark", "arithmetic"),
        problems.job_closed(ID, "running", State.CANCELLED),
    ),
)


@post("/{job_id:str}/events", status_code=200, operation=REPORT_EVENT)  # NO_CONTENT has the real status
async def report_event(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Report what a benchmark does. Adapters call this.

    Fields that are absent keep what is known. A repeat is a success, a step back is ignored, and a benchmark or job that
    has ended refuses anything else with 409.

    If the storage is away (503), the server keeps the event in memory and stores it later; a restart forgets it, so it
    should be sent again.
    """
    body = decode(await request.body(), StatusEvent)
    validate(body, "StatusEvent")
    assert body.benchmark_status_event is not None  # noqa: S101  required, so validated
    await services.jobs.report(job_id, body.benchmark_status_event, request.identity)
    return NO_CONTENT


job_router = Router(
    "/api/v1/evaluations/jobs",
    route_handlers=[create_job, list_jobs, get_job, get_card, delete_job, report_event],
)
