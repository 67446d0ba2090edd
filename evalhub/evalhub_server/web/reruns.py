"""Reruns: ``/api/v1/evaluations/jobs/{job_id}/reruns``."""

from __future__ import annotations

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.validation import decode
from evalhub_server.errors import FieldError
from evalhub_server.models.job import JobResource
from evalhub_server.models.rerun import RerunRequest
from evalhub_server.web.conditional import tagged_response
from evalhub_server.web.idempotency import IDEMPOTENT, idempotency_key
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, not_found
from evalhub_server.web.openapi.operation import Operation, RequestBody, Success, links
from evalhub_server.web.openapi.parameters import TAGGED
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

RERUN_JOB = Operation(
    body=RequestBody(type=RerunRequest, examples={"failed": {"only": "failed"}, "indexes": {"only": [0]}}),
    success=Success(
        status=202,
        description="The new job is stored and queued.",
        type=JobResource,
        links=links("job_id", "$response.body#/resource/id", "get_job", "delete_job", "job_logs"),
        headers=TAGGED,
        example=examples.rerun,
    ),
    errors=(
        problems.validation_failed(
            "only[0] must be the index of a benchmark, from 0 to 3",
            [FieldError("only[0]", "must be the index of a benchmark, from 0 to 3")],
        ),
        not_found("evaluation job"),
        problems.not_rerunnable(ID, "has nothing to repeat: no benchmark of it is failed"),
        *IDEMPOTENT,
    ),
    headers=("IdempotencyKey",),
)


@post("/", status_code=202, operation=RERUN_JOB)
async def rerun_job(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Repeat benchmarks of a job that has ended, as a new job.

    The benchmarks run as the original job planned them, whatever has changed in providers and collections since, and in the
    same experiment. Unless `reuse_samples` is false, adapters get the samples of the original and may reuse those that are
    finished. The original is not changed. `resource.derived_from` of the new job is its id, `resource.repeats` has
    for each benchmark the index in the original, and `resource.lineage` of both lists the whole chain of reruns.

    A job that has not ended, that has nothing to repeat, or whose provider does not exist any more is refused with 409.
    """
    body = decode(await request.body(), RerunRequest)
    key = idempotency_key(request, "rerun", job_id, body)
    job = await services.jobs.rerun(job_id, body, request.identity, key)
    return tagged_response(request, await services.job_with_lineage(job, request.identity), status=202)


rerun_router = Router("/api/v1/evaluations/jobs/{job_id:str}/reruns", route_handlers=[rerun_job])
