"""Streams of server-sent events: ``…/jobs/stream`` and ``…/jobs/{id}/stream``."""

from __future__ import annotations

from litestar import Router, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain.stream_ids import StreamPosition, read_position
from evalhub_server.web.event_stream import EVENT_STREAM, RETRY_MS, StreamResponse
from evalhub_server.web.job_events import has_ended, job_events, list_events
from evalhub_server.web.job_filters import JOB_FILTER_NAMES, JOB_FILTERS, job_query
from evalhub_server.web.log_routes import INVALID_OPTIONS, TAIL_LINES, read_tail_lines
from evalhub_server.web.openapi.errors import LIST, not_found
from evalhub_server.web.openapi.operation import Operation, Success
from evalhub_server.web.openapi.parameters import boolean
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, SelfSending
from evalhub_server.web.services import Services

FIRST = b"retry: %d\n\n" % RETRY_MS
TEXT = {"type": "string"}
EVENTS = Success(description="The events.", media_types=(EVENT_STREAM,), schema=TEXT)

STREAM_JOBS = Operation(query=JOB_FILTERS, success=EVENTS, errors=LIST)


@route("/stream", http_method=READ_METHODS, operation=STREAM_JOBS)
async def stream_jobs(request: ApiRequest, services: NamedDependency[Services]) -> StreamResponse:
    """Follow the jobs of a list, as server-sent events.

    The stream begins with an event `job` for each job on the page that `limit` and `offset` select. Then it has the events
    `job` and `benchmark` of every job that matches the filters before or after a change, like the stream of one job.
    """
    query = Query(request.scope)
    limit, offset = query.page()
    query.allow_only(JOB_FILTER_NAMES)
    selected = job_query(query, limit, offset, request.identity)
    resumed = _resumed(request)
    return StreamResponse(lambda: list_events(services.jobs, selected, resumed), EVENT_STREAM, FIRST)


STREAM_JOB = Operation(
    query=(
        boolean("logs", "Include the output of the benchmarks as events `log`.", default=False),
        TAIL_LINES,
    ),
    success=EVENTS,
    errors=(INVALID_OPTIONS[0], not_found("evaluation job")),
)


@route("/{job_id:str}/stream", http_method=READ_METHODS, operation=STREAM_JOB)
async def stream_job(
    request: ApiRequest, job_id: FromPath[str], services: NamedDependency[Services]
) -> SelfSending:
    """Follow a job, as server-sent events.

    The stream begins with the state of the job (`job`) and of each benchmark (`benchmark`), and then has an event for each
    change. With `logs` it has the output of the benchmarks, in whole lines (`log`), from the last `tail_lines` lines on. The
    last event is `end`, with a `reason`.

    A client that connects again with `Last-Event-ID`, as browsers do, gets the events after that one; after a restart of the
    server, the state again and the logs from where it was. After `end` of a job that has ended the response is 204, which
    tells a browser not to connect again. A client that reads too slowly gets the state of the job only, and `end`.
    """
    query = Query(request.scope)
    tail_lines = read_tail_lines(query)
    logs = query.boolean("logs", default=False)
    job = await services.jobs.get(job_id, request.identity)
    resumed = _resumed(request)
    if has_ended(job.state, resumed):
        return RawResponse(204)
    return StreamResponse(
        lambda: job_events(services.jobs, job_id, request.identity, resumed, tail_lines if logs else None),
        EVENT_STREAM,
        FIRST,
    )


def _resumed(request: ApiRequest) -> StreamPosition | None:
    return read_position(request.field(b"last-event-id"))


stream_router = Router("/api/v1/evaluations/jobs", route_handlers=[stream_jobs, stream_job])
