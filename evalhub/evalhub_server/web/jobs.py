"""Jobs: ``/api/v1/evaluations/jobs``."""

from __future__ import annotations

from typing import cast

import msgspec
from litestar import Router, delete
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.card import card_json
from evalhub_server.domain.entity_tags import Tagged
from evalhub_server.domain.validation import decode, decode_job, validate
from evalhub_server.errors import ApiError
from evalhub_server.models.card import EvaluationCard
from evalhub_server.models.common import State
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import JobRequest, JobResource
from evalhub_server.models.job_page import JobResourcePage
from evalhub_server.web.api_route import post, route
from evalhub_server.web.conditional import (
    SINCE,
    WAIT,
    ListState,
    long_poll,
    resource_response,
    tagged_response,
)
from evalhub_server.web.idempotency import IDEMPOTENT, idempotency_key
from evalhub_server.web.job_filters import FACETS, JOB_LIST_NAMES, JOB_LIST_PARAMETERS, VIEWS, job_query
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, LIST, RUNTIME_UNAVAILABLE, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Link, Operation, RequestBody, Success, links
from evalhub_server.web.openapi.parameters import TAGGED, boolean
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import NO_CONTENT, RawResponse, encode, no_content

CREATE_JOB = Operation(
    body=RequestBody(
        type=JobRequest, examples={"benchmarks": examples.JOB, "collection": examples.COLLECTION_JOB}
    ),
    success=Success(
        status=202,
        description="The job is stored and queued.",
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
        headers=TAGGED,
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
        problems.local_runtime_not_enabled(
            "inspect", "it is not installed", "Run: eval-hub-server adapters install inspect"
        ),
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
        problems.hardware_profile_fetch_failed("a100", unavailable=True),
        *IDEMPOTENT,
    ),
    headers=("IdempotencyKey",),
)


@post("/", status_code=202, operation=CREATE_JOB)
async def create_job(request: ApiRequest) -> RawResponse:
    """Submit a job.

    The job runs its `benchmarks`, or those of a `collection`. The request is validated completely before anything is
    stored. Later changes of providers and collections do not affect the job.

    With `Idempotency-Key` the request may be repeated, for example after a lost connection, without creating a second job.
    """
    body = decode_job(await request.body())
    validate(body, "EvaluationJobConfig")
    job = await request.services.jobs.create(body, request.identity, idempotency_key(request, "create", body))
    return resource_response(request, request.services.encode_job(job), status=202)


LIST_JOBS = Operation(
    query=JOB_LIST_PARAMETERS,
    success=Success(
        description="One page of jobs.", type=JobResourcePage, example=examples.jobs, headers=TAGGED
    ),
    errors=(
        *LIST,
        problems.query_parameter_value_invalid("view", "|".join(VIEWS)),
        problems.query_parameter_value_invalid("facets", "|".join(FACETS)),
        problems.query_parameter_mismatch(("status", "running_first")),
    ),
)


@route("/", http_method=READ_METHODS, operation=LIST_JOBS)
async def list_jobs(request: ApiRequest) -> RawResponse:
    """List jobs.

    By default the newest come first, and each as `GET` of the job returns it, without its lineage. With `facets` the page also
    has the number of jobs for each state, model, benchmark or tag.
    """
    services = request.services
    state = ListState(request, services.feed.epoch, services.feed.position)
    if (known := services.lists.find(request, state)) is not None:
        return known
    query = Query(request.scope)
    limit, offset = query.page()
    query.allow_only(JOB_LIST_NAMES)
    listed = job_query(query, limit, offset, request.identity)
    facets = query.choices("facets", FACETS)
    summary = query.choice("view", VIEWS, "full") == "summary"
    running_first = query.boolean("running_first", False)
    if running_first and listed.status is not None:
        raise problems.query_parameter_mismatch(("status", "running_first"))
    if state.not_modified is not None:
        return state.not_modified

    async def read() -> bytes:
        page = await (
            services.jobs.list_running_first(listed) if running_first else services.jobs.list(listed)
        )
        counted = await services.jobs.facets.count(listed, facets) if facets else ()
        first, next_ = query.links(limit, offset, page.total_count)
        encode_job = services.encode_job_summary if summary else services.encode_job
        items = [msgspec.Raw(encode_job(job)) for job in page.items]
        listed_page = JobResourcePage(
            first=first,
            next=next_,
            limit=limit,
            total_count=page.total_count,
            items=cast("list[JobResource]", items),  # encoded already
            facets=counted,
        )
        return encode(listed_page)

    return await services.lists.build(request, state, read)


GET_JOB = Operation(
    query=(WAIT, SINCE),
    success=Success(description="The job.", type=JobResource, example=examples.completed_job, headers=TAGGED),
    errors=(
        problems.query_parameter_invalid("wait", "duration such as 30s", "soon"),
        not_found("evaluation job"),
    ),
)


@route("/{job_id:str}", http_method=READ_METHODS, operation=GET_JOB)
async def get_job(request: ApiRequest, job_id: FromPath[str]) -> RawResponse:
    """Get a job with its state, the state of its benchmarks, and the results so far.

    With `wait` the response is delayed until the job changes. A client that passes the last `ETag` as `since` misses no
    change and polls no faster than the job changes.
    """
    services = request.services
    if b"wait" in request.scope["query_string"]:

        async def read() -> tuple[Tagged, bool]:
            job = await services.jobs.get(job_id, request.identity)
            return await services.job_with_lineage(job, request.identity), job.state.terminal

        return tagged_response(request, await long_poll(request, services.feed, job_id, read))
    job = await services.jobs.get(job_id, request.identity)
    return tagged_response(request, await services.job_with_lineage(job, request.identity))


GET_CARD = Operation(
    success=Success(description="The card.", type=EvaluationCard, example=examples.card, headers=TAGGED),
    errors=(not_found("evaluation job"),),
)


@route("/{job_id:str}/card", http_method=READ_METHODS, operation=GET_CARD)
async def get_card(request: ApiRequest, job_id: FromPath[str]) -> RawResponse:
    """Get the evaluation card of a job: the request and the outcome, for archives."""
    job = await request.services.jobs.get(job_id, request.identity)
    return resource_response(request, card_json(job))


HARD_DELETE = boolean("hard_delete", "Also remove the job, its results and its files.", default=False)
FORCE = boolean(
    "force",
    "With `hard_delete`: also delete a job that was started by a runtime which is not selected, or that its runtime fails "
    "to stop. Its record is removed; what may still run, and its files, are only logged.",
    default=False,
)
DELETE_JOB = Operation(
    query=(HARD_DELETE, FORCE),
    success=Success(status=204, description="No process of the job is running.", headers=("Warning",)),
    errors=(
        problems.query_parameter_invalid("hard_delete", "boolean", "maybe"),
        not_found("evaluation job"),
        problems.job_closed(ID, "cancelled", State.COMPLETED),
        problems.runtime_not_selected(ID, "deleted", 0, "local"),
        STORE_UNAVAILABLE,
        RUNTIME_UNAVAILABLE,
    ),
)


@delete("/{job_id:str}", status_code=200, operation=DELETE_JOB)  # NO_CONTENT has the real status
async def delete_job(request: ApiRequest, job_id: FromPath[str]) -> RawResponse:
    """Cancel or delete a job.

    Running benchmarks are terminated, and killed after a grace period. Without `hard_delete` the job and its logs are
    kept; only a job that has not finished can be cancelled, and a repeated cancel changes nothing.

    Benchmarks of a runtime that is no longer selected can be neither terminated nor removed: the job is refused with 409
    until the runtime is selected again. `force` removes the record even so. It also removes that of a job which the
    runtime fails to stop; the server keeps trying.

    If the cluster is unavailable or refuses to stop the job's workloads, the answer is 503: the job is cancelled, and the
    server keeps trying. What a cluster refuses to stop or to remove does not keep `hard_delete` from removing the record;
    the header `Warning` then names what may be left.

    If the storage is unavailable (503), running benchmarks are stopped even so, and with `hard_delete` the files are
    removed if the storage can be read. The cancellation is stored when the storage is available again, unless the server
    is restarted before.
    """
    query = Query(request.scope)
    force = query.boolean("force", default=False)
    if query.boolean("hard_delete", default=False):
        return no_content(await request.services.jobs.delete(job_id, request.identity, force=force))
    await request.services.jobs.cancel(job_id, request.identity)
    return NO_CONTENT


REPORT_EVENT = Operation(
    body=RequestBody(
        type=StatusEvent,
        examples={"running": examples.RUNNING, "completed": examples.COMPLETED, "failed": examples.FAILED},
    ),
    success=Success(status=204, description="The event is recorded."),
    errors=(
        problems.validation_failed("status must be one of: pending, running, completed, failed"),
        not_found("evaluation job"),
        problems.not_found("benchmark", "arithmetic"),
        problems.job_closed(ID, "running", State.CANCELLED),
    ),
)


@post("/{job_id:str}/events", status_code=200, operation=REPORT_EVENT)  # NO_CONTENT has the real status
async def report_event(request: ApiRequest, job_id: FromPath[str]) -> RawResponse:
    """Report the progress or the results of a benchmark. Adapters call this.

    Absent fields leave the recorded values unchanged. A repeated event succeeds, an earlier state is ignored, and any
    other event for a finished benchmark or job is refused with 409.

    If the storage is unavailable (503), clients should retry. The server keeps the event in memory and stores it later, unless
    it is restarted or its database is lost.
    """
    content = b""
    try:
        content = await request.body()
        body = decode(content, StatusEvent)
        validate(body, "StatusEvent")
        assert body.benchmark_status_event is not None  # noqa: S101  required, so validated
        await request.services.jobs.report(job_id, body.benchmark_status_event, request.identity)
    except ApiError as error:
        if error.status < 500:
            await request.services.jobs.note_refused_event(job_id, content, error, request.identity)
        raise
    return NO_CONTENT


job_router = Router(
    "/api/v1/evaluations/jobs",
    route_handlers=[create_job, list_jobs, get_job, get_card, delete_job, report_event],
)
