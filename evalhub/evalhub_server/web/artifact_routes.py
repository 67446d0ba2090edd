"""Artifacts of a benchmark: files that its adapter left. They are data of others: attachments, never shown."""

from __future__ import annotations

from litestar import Router, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from evalhub_server.domain import problems
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.sample_store import benchmark_at
from evalhub_server.models.sample import Artifact, ArtifactList
from evalhub_server.web.file_response import FileResponse
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, RequestBody, Success, names
from evalhub_server.web.paths import index_of
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services
from evalhub_server.web.uploads import ATTEMPT, OCTETS, attempt_of, body_chunks

PATH = "/{job_id:str}/benchmarks/{benchmark_index:str}/artifacts"
NAME = Parameter(
    name="name", description="The artifact's name, such as `logs/run.eval`.", schema={"type": "string"}
)
GET_ARTIFACTS = Operation(
    query=(NAME,),
    success=Success(
        description="Without `name` the list of artifacts; with it the file, as an attachment.",
        type=ArtifactList,
        file_type=OCTETS,
        example=examples.artifacts,
    ),
    errors=(
        problems.query_bad_parameter("colour", ("name",)),
        problems.query_parameter_invalid("benchmark_index", "non-negative integer", "x"),
        not_found("evaluation job"),
        problems.not_found("benchmark", "7"),
        problems.not_found("artifact", "logs/run.eval"),
        STORE_UNAVAILABLE,
    ),
)


@route(PATH, http_method=READ_METHODS, operation=GET_ARTIFACTS)
async def get_artifacts(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> ASGIApp:
    """List the artifacts of a benchmark, or download one of them.

    An artifact is any file that the adapter left. It is sent as an attachment that browsers do not show.
    """
    query = Query(request.scope)
    query.allow_only(names(GET_ARTIFACTS.query))
    index = index_of(benchmark_index)
    job = await services.jobs.get(job_id, request.identity)
    if name := query.text("name"):
        file = await services.files.open_artifact(job, index, name)
        file_name = name.rpartition("/")[2]
        return FileResponse(file.chunks, OCTETS, file_name, file.size_bytes)
    samples = current_set(benchmark_at(job, index))
    return json_response(encode(ArtifactList(items=samples.artifacts if samples else ())))


UPLOAD_ARTIFACT = Operation(
    query=(NAME, ATTEMPT),
    body=RequestBody(media_type=OCTETS, examples={"text": "any bytes"}),
    success=Success(description="The artifact is stored.", type=Artifact, example=examples.artifact),
    errors=(
        problems.query_parameter_invalid("attempt", "positive integer", "0"),
        problems.validation_failed("the name of an artifact must be a relative path without '.' and '..'"),
        problems.invalid_json("the connection was closed before the whole body had come"),
        not_found("evaluation job"),
        problems.not_found("benchmark", "7"),
        problems.attempt_superseded(ID, 0, 1, 2),
        problems.samples_not_kept("set samples.url, or start it with --data-dir"),
        problems.upload_too_large("artifact", 1024**3, "samples.max_artifact_bytes"),
        STORE_UNAVAILABLE,
    ),
)


@put(PATH, status_code=200, operation=UPLOAD_ARTIFACT)
async def upload_artifact(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """Upload an artifact of a benchmark. Adapters call this, on the callback URL of their job.

    It replaces the artifact with the same name and attempt.
    """
    query = Query(request.scope)
    attempt, index = attempt_of(query), index_of(benchmark_index)
    job = await services.jobs.get(job_id, request.identity)
    artifact = await services.uploads.upload_artifact(
        job, index, attempt, query.text("name"), body_chunks(request)
    )
    return json_response(encode(artifact))


artifact_router = Router("/api/v1/evaluations/jobs", route_handlers=[get_artifacts, upload_artifact])
