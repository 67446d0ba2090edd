"""Baselines: ``/api/v1/evaluations/baselines``, and pinned jobs."""

from __future__ import annotations

import re

import msgspec
from litestar import Router, delete, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.resource import BaselineRecord, Kind
from evalhub_server.domain.resource_view import baseline_resource
from evalhub_server.domain.validation import decode, validate
from evalhub_server.models.baseline import Baseline, BaselineRequest
from evalhub_server.models.common import Page
from evalhub_server.plugins.storage import ResourceQuery
from evalhub_server.web.conditional import if_match, resource_response
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import LIST, broken_rule, not_found
from evalhub_server.web.openapi.operation import Operation, RequestBody, Success, names
from evalhub_server.web.openapi.parameters import LIMIT, NAME, OFFSET, TAGGED
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import NO_CONTENT, RawResponse, encode, json_response
from evalhub_server.web.services import Services

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)

LIST_BASELINES = Operation(
    query=(LIMIT, OFFSET, NAME),
    success=Success(description="One page of baselines.", type=Page[Baseline], example=examples.baselines),
    errors=LIST,
)


@route("/", http_method=READ_METHODS, operation=LIST_BASELINES)
async def list_baselines(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """List baselines, by name."""
    query = Query(request.scope)
    limit, offset = query.page()
    query.allow_only(names(LIST_BASELINES.query))
    page = await services.baselines.list(
        ResourceQuery(
            kind=Kind.BASELINE,
            tenant=request.identity.scope,
            limit=limit,
            offset=offset,
            name=query.terms("name"),
            sort="name",
            descending=False,
        )
    )
    first, next_ = query.links(limit, offset, page.total_count)
    items = [baseline_resource(each) for each in page.items if isinstance(each, BaselineRecord)]
    return json_response(
        encode(Page(first=first, next=next_, limit=limit, total_count=page.total_count, items=items))
    )


GET_BASELINE = Operation(
    success=Success(description="The baseline.", type=Baseline, example=examples.baseline, headers=TAGGED),
    errors=(problems.not_found("baseline", "nightly"),),
)


@route("/{baseline_name:str}", http_method=READ_METHODS, operation=GET_BASELINE)
async def get_baseline(
    request: ApiRequest, baseline_name: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Get a baseline."""
    return _response(request, await services.baselines.get(baseline_name, request.identity))


PUT_BASELINE = Operation(
    body=RequestBody(type=BaselineRequest, examples={"a job": {"job_id": examples.ID}}),
    success=Success(
        description="The baseline names the job.", type=Baseline, example=examples.baseline, headers=TAGGED
    ),
    errors=(
        problems.baseline_name_invalid("last night"),
        broken_rule("BaselineRequest.job_id", "required"),
        not_found("evaluation job"),
        problems.precondition_failed("baseline", "nightly"),
    ),
)


@put("/{baseline_name:str}", operation=PUT_BASELINE)
async def put_baseline(
    request: ApiRequest, baseline_name: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Let a name stand for a job, whether the baseline exists or not.

    Comparisons refer to it as `name:NAME`. Names belong to the tenant. The job of a baseline is never pruned; to delete it is
    possible, and comparisons with the baseline are refused with 409 then.
    """
    if not _NAME.fullmatch(baseline_name):
        raise problems.baseline_name_invalid(baseline_name)
    body = decode(await request.body(), BaselineRequest)
    validate(body, "BaselineRequest")
    record = await services.baselines.put(baseline_name, body.job_id, request.identity, if_match(request))
    return _response(request, record)


DELETE_BASELINE = Operation(
    success=Success(status=204, description="The baseline is deleted."),
    errors=(problems.not_found("baseline", "nightly"),),
)


@delete("/{baseline_name:str}", status_code=200, operation=DELETE_BASELINE)  # NO_CONTENT has the real status
async def delete_baseline(
    request: ApiRequest, baseline_name: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Delete a baseline. Its job is kept."""
    await services.baselines.delete(baseline_name, request.identity)
    return NO_CONTENT


def _response(request: ApiRequest, record: BaselineRecord) -> RawResponse:
    body = msgspec.json.encode(baseline_resource(record))
    return resource_response(request, body, record.updated_at)


PIN_JOB = Operation(
    success=Success(status=204, description="The job is pinned."), errors=(not_found("evaluation job"),)
)


@put("/", status_code=200, operation=PIN_JOB)  # NO_CONTENT has the real status
async def pin_job(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Pin a job: it is never pruned. Lists filter by `pinned`."""
    await services.jobs.pin(job_id, request.identity, pinned=True)
    return NO_CONTENT


UNPIN_JOB = Operation(
    success=Success(status=204, description="The job is not pinned."), errors=(not_found("evaluation job"),)
)


@delete("/", status_code=200, operation=UNPIN_JOB)  # NO_CONTENT has the real status
async def unpin_job(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Unpin a job."""
    await services.jobs.pin(job_id, request.identity, pinned=False)
    return NO_CONTENT


baseline_router = Router(
    "/api/v1/evaluations/baselines",
    route_handlers=[list_baselines, get_baseline, put_baseline, delete_baseline],
)
pin_router = Router("/api/v1/evaluations/jobs/{job_id:str}/pin", route_handlers=[pin_job, unpin_job])
