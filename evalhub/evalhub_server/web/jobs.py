"""``/api/v1/evaluations/jobs``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from evalhub_server.domain.card import card_json
from evalhub_server.domain.validation import decode, validate
from evalhub_server.domain.view import job_resource
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.models.common import Page
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins.storage import JobQuery
from evalhub_server.web.body import read_body
from evalhub_server.web.context import context
from evalhub_server.web.encoding import RecordEncoder
from evalhub_server.web.query import Query
from evalhub_server.web.responses import encode, json_response, no_content

AnyRequest = Request[Any, Any, Any]
FILTERS = ("limit", "offset", "status", "name", "tags", "owner", "experiment_id")


def job_routes(jobs: JobService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(job_resource)

    @post("/api/v1/evaluations/jobs", status_code=202)
    async def create_job(request: AnyRequest) -> ASGIResponse:
        body = decode(await read_body(request, body_limit_bytes), JobRequest)
        validate(body, "EvaluationJobConfig")
        job = await jobs.create(body, context(request).identity)
        return json_response(encoder(job) + b"\n", 202)

    @get("/api/v1/evaluations/jobs")
    async def list_jobs(request: AnyRequest) -> ASGIResponse:
        query = Query(request.scope)
        limit, offset = query.page()
        query.allow_only(FILTERS)
        page = await jobs.list(_job_query(query, limit, offset, context(request).identity))
        first, following = query.links(limit, offset, page.total_count)
        items = [msgspec.Raw(encoder(job)) for job in page.items]
        envelope = Page[msgspec.Raw](
            first=first, next=following, limit=limit, total_count=page.total_count, items=items
        )
        return json_response(encode(envelope))

    @get("/api/v1/evaluations/jobs/{job_id:str}")
    async def get_job(request: AnyRequest, job_id: str) -> ASGIResponse:
        job = await jobs.get(job_id, context(request).identity)
        return json_response(encoder(job) + b"\n")

    @get("/api/v1/evaluations/jobs/{job_id:str}/card")
    async def get_card(request: AnyRequest, job_id: str) -> ASGIResponse:
        job = await jobs.get(job_id, context(request).identity)
        return json_response(card_json(job) + b"\n")

    @delete("/api/v1/evaluations/jobs/{job_id:str}", status_code=200)  # 204 is in the answer; see responses
    async def delete_job(request: AnyRequest, job_id: str) -> ASGIResponse:
        identity = context(request).identity
        if Query(request.scope).boolean("hard_delete", default=False):
            await jobs.delete(job_id, identity)
        else:
            await jobs.cancel(job_id, identity)
        return no_content()

    @post("/api/v1/evaluations/jobs/{job_id:str}/events", status_code=200)
    async def report_event(request: AnyRequest, job_id: str) -> ASGIResponse:
        body = decode(await read_body(request, body_limit_bytes), StatusEvent)
        validate(body, "StatusEvent")
        assert body.benchmark_status_event is not None  # noqa: S101  required, so validated
        await jobs.report(job_id, body.benchmark_status_event, context(request).identity)
        return no_content()

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
