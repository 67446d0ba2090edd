"""Routes of the logs of jobs and benchmarks."""

from __future__ import annotations

import re
from functools import partial

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.plugins.runtime import LogOptions
from evalhub_server.web.disconnect import patience_s
from evalhub_server.web.event_stream import StreamResponse
from evalhub_server.web.job_events import log_text
from evalhub_server.web.log_response import LogResponse
from evalhub_server.web.openapi.errors import RUNTIME_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success
from evalhub_server.web.openapi.parameters import boolean
from evalhub_server.web.paths import index_of
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import SelfSending
from evalhub_server.web.services import Services

TAIL_LINES = Parameter(
    name="tail_lines",
    description="Number of lines from the end of each benchmark's log; -1 means all.",
    schema={"type": "integer", "minimum": -1, "maximum": 10_000, "default": 1000, "not": {"const": 0}},
)
OPTIONS = (
    TAIL_LINES,
    boolean("timestamps", "Prefix lines with their time, if the runtime records it.", default=False),
    Parameter(
        name="since_seconds",
        description="Maximum age of lines in seconds, if the runtime records times.",
        schema={"type": "integer", "minimum": 1, "maximum": 10**18 - 1},
        allow_empty=False,
    ),
)
FOLLOW = boolean(
    "follow",
    "Keep the response open and send what is appended, line by line, until the benchmark ends. The limits of size and time "
    "do not apply, nor do `timestamps` and `since_seconds`.",
    default=False,
)
INVALID_OPTIONS = (
    problems.query_parameter_invalid("tail_lines", "integer between 1 and 10000, or -1 for all lines", "0"),
    problems.query_parameter_required("since_seconds"),
)
TEXT = "text/plain"


JOB_LOGS = Operation(
    query=(*OPTIONS, FOLLOW),
    success=Success(
        description="The logs so far.", media_types=(TEXT,), schema={"type": "string"}, headers=("Trailer",)
    ),
    errors=(*INVALID_OPTIONS, not_found("evaluation job"), RUNTIME_UNAVAILABLE),
)


@route("/{job_id:str}/logs", http_method=READ_METHODS, operation=JOB_LOGS)
async def job_logs(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> SelfSending:
    """Get the output of a job's adapters.

    A line with `===` precedes the output of each benchmark.

    With `tail_lines=-1` the output is returned as it is, up to the server's limit of size or time, as the last line then
    states. Otherwise later responses only append to earlier ones, so that clients can print what is new: benchmarks after
    the first one that has not ended are left out, of a line with carriage returns (a progress bar) only what follows
    the last one is returned, and while such a line is unfinished it is left out. Of lines above the limit of size the
    beginning is left out, as the first line then states.
    """
    query = Query(request.scope)
    options = _options(query)
    if query.boolean("follow", default=False):
        return await _followed(services, request, job_id, None, options)
    read = partial(services.jobs.logs, job_id, None, options, request.identity)
    return LogResponse(read, services.settings, keep_end=options.tail_lines > 0)


BENCHMARK_LOGS = Operation(
    query=(*OPTIONS, FOLLOW),
    success=Success(
        description="The log so far.", media_types=(TEXT,), schema={"type": "string"}, headers=("Trailer",)
    ),
    errors=(
        *INVALID_OPTIONS,
        not_found("evaluation job"),
        problems.not_found("benchmark", "7"),
        RUNTIME_UNAVAILABLE,
    ),
)


@route(
    "/{job_id:str}/benchmarks/{benchmark_index:str}/logs", http_method=READ_METHODS, operation=BENCHMARK_LOGS
)
async def benchmark_logs(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> SelfSending:
    """Get the output of the adapter of one benchmark.

    `tail_lines` and the limits act as on the logs of a job.
    """
    query = Query(request.scope)
    options, index = _options(query), index_of(benchmark_index)
    if query.boolean("follow", default=False):
        return await _followed(services, request, job_id, index, options)
    read = partial(services.jobs.logs, job_id, index, options, request.identity)
    return LogResponse(read, services.settings, keep_end=options.tail_lines > 0)


async def _followed(
    services: Services, request: ApiRequest, job_id: str, index: int | None, options: LogOptions
) -> StreamResponse:
    job = await services.jobs.get(job_id, request.identity)
    if index is not None and index >= len(job.benchmarks):
        raise problems.not_found("benchmark", str(index))
    return StreamResponse(
        lambda: log_text(services.jobs, job_id, index, request.identity, options.tail_lines),
        TEXT,
        stalled_s=patience_s(services.settings.log_stream_timeout),
    )


def read_tail_lines(query: Query) -> int:
    """The parameter ``tail_lines``. Raises :class:`ApiError`."""
    text = query.text("tail_lines") or "1000"
    lines = int(text) if re.fullmatch(r"-1|[0-9]{1,18}", text, re.ASCII) else 0
    if lines != -1 and not 1 <= lines <= 10_000:
        raise problems.query_parameter_invalid(
            "tail_lines", "integer between 1 and 10000, or -1 for all lines", text
        )
    return lines


def _options(query: Query) -> LogOptions:
    lines = read_tail_lines(query)
    since: int | None = None
    if query.given("since_seconds"):
        if not query.text("since_seconds"):
            raise problems.query_parameter_required("since_seconds")
        since = query.integer("since_seconds", 1)
        if since < 1:
            raise problems.query_parameter_invalid("since_seconds", "positive integer", str(since))
    return LogOptions(
        tail_lines=lines, timestamps=query.boolean("timestamps", default=False), since_seconds=since
    )


log_router = Router("/api/v1/evaluations/jobs", route_handlers=[job_logs, benchmark_logs])
