"""Exports of jobs: ``/api/v1/evaluations/jobs/{job_id}/exports``."""

from __future__ import annotations

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.job_view import job_export
from evalhub_server.models.job import JobExport, PendingExports
from evalhub_server.web.openapi.errors import ID, not_found
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services

RETRY_EXPORTS = Operation(
    success=Success(
        status=202,
        description="The exports that are sent now, in the background. `GET` of the job shows their outcome.",
        type=PendingExports,
        example=lambda: PendingExports(exports=(JobExport(kind="exporter", name="oci", state="pending"),)),
    ),
    errors=(not_found("evaluation job"), problems.exports_not_retried(ID, "exporter", "oci")),
)


@post("/{job_id:str}/exports/retry", status_code=202, operation=RETRY_EXPORTS)
async def retry_exports(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Send failed exports again.

    All exports of the job to trackers and exporters that have failed become pending, with all their attempts, and those
    that wait for their next attempt are sent at once. Exports that succeeded stay as they are; without any other the list is
    empty. Exports to a tracker or exporter that is no longer selected stay failed, with 409 if there are no others.
    """
    pending = await services.jobs.exports.retry(job_id, request.identity)
    exports = PendingExports(exports=tuple(job_export(entry) for entry in pending if entry.requested))
    return json_response(encode(exports), 202)


export_router = Router("/api/v1/evaluations/jobs", route_handlers=[retry_exports])
