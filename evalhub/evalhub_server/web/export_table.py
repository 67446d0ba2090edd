"""Tables of jobs, benchmarks and samples as files: ``/api/v1/evaluations/export``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
from litestar import Router, route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.export_rows import COLUMNS, LEVELS, NUMBERS, Level, Row, rows_of, sample_row
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.table_formats import FORMATS
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.sample_backend import file_chunks
from evalhub_server.errors import ApiError
from evalhub_server.plugins.storage import JobQuery
from evalhub_server.web.file_response import FileResponse, joined
from evalhub_server.web.job_filters import JOB_FILTERS, job_query
from evalhub_server.web.openapi.errors import LIST, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.parquet import PARQUET, Kind, parquet_file, parquet_missing
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.services import Services

PAGE = 200
"""Jobs in memory at a time."""

MAX_JOBS = 1000
"""Maximum number of ids in ``jobs``."""

FORMAT_NAMES = (*FORMATS, "parquet")
MEDIA_TYPES = (*(media_type.partition(";")[0] for media_type, _ in FORMATS.values()), PARQUET)

JOBS = Parameter(
    name="jobs",
    description=f"Ids of jobs, separated by commas, at most {MAX_JOBS}; their order is kept. Not together with filters.",
    schema={"type": "string"},
)
FORMAT = Parameter(
    name="format",
    description="`md` is Markdown, `latex` a `tabular` with the rules of booktabs. Parquet needs pyarrow on the server.",
    schema={"type": "string", "enum": [*FORMAT_NAMES], "default": "json"},
)
LEVEL = Parameter(
    name="level",
    description="What a row is: a job, a benchmark with its primary metric, or a sample.",
    schema={"type": "string", "enum": [*LEVELS], "default": "benchmarks"},
)
FILTERS = tuple(each for each in JOB_FILTERS if each.name not in ("limit", "offset"))
FILTER_NAMES = names(FILTERS)

EXPORT = Operation(
    query=(JOBS, FORMAT, LEVEL, *FILTERS),
    success=Success(
        description="The table, as an attachment.",
        media_types=MEDIA_TYPES,
        schema={},
        headers=("Content-Disposition", "Content-Security-Policy"),
    ),
    errors=(
        *LIST,
        problems.query_parameter_value_invalid("format", "|".join(FORMAT_NAMES)),
        problems.query_parameter_mismatch(("jobs", "name")),
        not_found("evaluation job"),
        parquet_missing(),
        STORE_UNAVAILABLE,
    ),
)


@route("/", http_method=READ_METHODS, operation=EXPORT)
async def export(request: ApiRequest, services: NamedDependency[Services]) -> FileResponse:
    """Export jobs, their benchmarks or their samples as a table.

    The table has the jobs of `jobs`, or those that match the filters of the list of jobs, oldest first; without both, all
    jobs. Only columns are added in later versions, at the end. In CSV, a text that a spreadsheet would take for a formula
    gets a leading apostrophe. Samples that are not stored are left out. Secrets in URLs and parameters are masked.
    """
    query = Query(request.scope)
    query.allow_only(names(EXPORT.query))
    level: Level = query.choice("level", LEVELS, "benchmarks")
    kind = query.choice("format", FORMAT_NAMES, "json")
    pages = await _pages(query, services, request.identity)
    first = await _next(pages)
    loop = asyncio.get_running_loop()
    rows = _rows(_Source(services, level, loop), first, pages)
    columns = COLUMNS[level]
    name = f"evalhub-{level}.{'tex' if kind == 'latex' else kind}"
    if kind == "parquet":
        kinds: dict[str, Kind] = {each: "number" if each in NUMBERS else "text" for each in columns}
        file = await asyncio.to_thread(parquet_file, kinds, rows)
        return FileResponse(file_chunks(file), PARQUET, name)
    media_type, write = FORMATS[kind]
    return FileResponse(joined(write(columns, rows)), media_type, name)


async def _pages(query: Query, services: Services, identity: Identity) -> AsyncIterator[list[JobRecord]]:
    """Pages of the wanted jobs. Ids that do not exist raise before the response has begun."""
    if not query.text("jobs"):
        # Newer jobs would move the pages.
        now = datetime.now(UTC)
        wanted = job_query(query, PAGE, 0, identity)
        before = min(wanted.created_before or now, now)
        return _listed(msgspec.structs.replace(wanted, created_before=before, descending=False), services)
    for name in FILTER_NAMES:
        if query.text(name):
            raise problems.query_parameter_mismatch(("jobs", name))
    ids = list(dict.fromkeys(part.strip() for part in query.text("jobs").split(",") if part.strip()))
    if len(ids) > MAX_JOBS:
        raise problems.query_parameter_invalid("jobs", f"list of at most {MAX_JOBS} ids", f"{len(ids)} ids")
    jobs = [await services.jobs.get(each, identity) for each in ids]
    return _given(jobs)


async def _given(jobs: list[JobRecord]) -> AsyncIterator[list[JobRecord]]:
    yield jobs


async def _listed(query: JobQuery, services: Services) -> AsyncIterator[list[JobRecord]]:
    offset = 0
    while True:
        page = await services.jobs.list(msgspec.structs.replace(query, offset=offset))
        if not page.items:
            return
        yield page.items
        offset += len(page.items)


class _Source(NamedTuple):
    """Where rows come from. They are built in threads, and what they need is read on the event loop."""

    services: Services
    level: Level
    loop: asyncio.AbstractEventLoop

    def wait(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result()


def _rows(source: _Source, first: list[JobRecord], pages: AsyncIterator[list[JobRecord]]) -> Iterator[Row]:
    """The rows of all jobs. Blocks: not for the event loop."""
    page = first
    while page:
        for job in page:
            if source.level == "samples":
                yield from _sample_rows(source, job)
            else:
                yield from rows_of(job, source.level)
        page = cast("list[JobRecord]", source.wait(_next(pages)))


async def _next(pages: AsyncIterator[list[JobRecord]]) -> list[JobRecord]:
    none: list[JobRecord] = []
    return await anext(pages, none)


def _sample_rows(source: _Source, job: JobRecord) -> Iterator[Row]:
    for benchmark in job.benchmarks:
        if benchmark.samples is None or not benchmark.samples.readable:
            continue
        try:
            samples = source.wait(source.services.files.open_samples(job, benchmark.index))
        except ApiError:
            continue  # removed since the job was read
        for line in samples.lines(range(len(samples.index))):
            yield sample_row(job, benchmark.index, msgspec.json.decode(line))


table_router = Router("/api/v1/evaluations/export", route_handlers=[export])
