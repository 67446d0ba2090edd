"""Checks of requests for jobs: ``/api/v1/evaluations/job-checks``."""

from __future__ import annotations

from litestar import Router, post
from litestar.di import NamedDependency

from evalhub_server.models.job import JobRequest
from evalhub_server.models.job_check import JobCheck
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.operation import Operation, RequestBody, Success
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services

CHECK_JOB = Operation(
    body=RequestBody(
        type=JobRequest, examples={"benchmarks": examples.JOB, "collection": examples.COLLECTION_JOB}
    ),
    success=Success(
        description="The result of the check, of an invalid request, too.",
        type=JobCheck,
        example=examples.job_check,
    ),
)


@post("/", status_code=200, operation=CHECK_JOB)
async def check_job(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Check a request for a job without creating it.

    The body is that of a create. The response lists the benchmarks that the job would run, with the parameters, thresholds and
    weights that collection, overrides and provider give them, and all warnings and errors. Nothing is stored, no experiment is
    created, and no program is started; whether the model answers is not checked. Only a body that is no JSON is refused.
    """
    return json_response(encode(await services.jobs.checker.check(await request.body(), request.identity)))


job_check_router = Router("/api/v1/evaluations/job-checks", route_handlers=[check_job])
