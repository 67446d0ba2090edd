"""Samples of a benchmark: pages, files, one sample, and the upload."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from litestar import Router, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.sample_query import Rows, Selection, select
from evalhub_server.domain.sample_timeline import sample_timeline
from evalhub_server.engine.sample_backend import file_chunks
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.models.common import Link
from evalhub_server.models.sample import Sample, SamplePage, SampleSet, SampleTimeline
from evalhub_server.web.file_response import FileResponse
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, RequestBody, Success, names
from evalhub_server.web.parquet import PARQUET, parquet_missing
from evalhub_server.web.paths import index_of
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.sample_export import csv_chunks, jsonl_chunks, parquet_samples
from evalhub_server.web.sample_query import (
    FILTERS,
    INVALID,
    PAGE,
    details_for,
    one_sample,
    page_of,
    row_of,
    sample_query,
    start_after,
)
from evalhub_server.web.services import Services
from evalhub_server.web.uploads import ATTEMPT, OCTETS, attempt_of, body_chunks

PATH = "/{job_id:str}/benchmarks/{benchmark_index:str}/samples"
NOT_AVAILABLE = (
    not_found("evaluation job"),
    problems.not_found("benchmark", "7"),
    problems.samples_not_available(ID, 0, "pending", ""),
    STORE_UNAVAILABLE,
)
LIST_SAMPLES = Operation(
    query=(*PAGE, *FILTERS),
    success=Success(description="One page of samples.", type=SamplePage, example=examples.samples),
    errors=(*INVALID, *NOT_AVAILABLE, problems.not_found("sample", "q-17")),
)


@route(PATH, http_method=READ_METHODS, operation=LIST_SAMPLES)
async def list_samples(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """List the samples of a benchmark, or get one of them.

    Samples are available once the benchmark's workload has ended; the `state` of `samples` in the status of the benchmark is
    `stored` or `cut` then. In pages, long texts are shortened. With `sample_id` the page has this sample, whole.
    """
    query = Query(request.scope)
    if query.text("sample_id"):
        sample_id, epoch = one_sample(query)
        samples = await _open(request, job_id, benchmark_index, services)
        return await _one(request, samples, sample_id, epoch)
    query.allow_only(names(LIST_SAMPLES.query))
    page = page_of(query)
    samples = await _open(request, job_id, benchmark_index, services)
    details = await details_for(query, samples, page.facets)
    wanted = sample_query(query, samples.index, details)

    def read() -> tuple[Selection, Rows, list[bytes]]:
        selection = select(samples.index, wanted, samples.search, page.facets, details)
        start = page.offset if page.after is None else start_after(selection.rows, page.after)
        rows = selection.rows[start : start + page.limit]
        return selection, rows, samples.previews(rows)

    selection, rows, lines = await asyncio.to_thread(read)
    total = len(selection.rows)
    cursor = None if query.text("offset") or not rows else rows[-1]
    first, next_ = query.links(page.limit, page.offset, total, after=cursor)
    if cursor is not None and rows[-1] == selection.rows[-1]:
        next_ = None
    return _page_response(
        SamplePage(
            first=first,
            next=next_ if rows else None,
            limit=page.limit,
            total_count=total,
            items=_items(lines),
            facets=selection.facets,
        )
    )


async def _one(request: ApiRequest, samples: SampleFile, sample_id: str, epoch: int) -> RawResponse:
    row = row_of(samples.index, sample_id, epoch)
    (line,) = await asyncio.to_thread(list, samples.lines([row]))
    first, _ = Query(request.scope).links(1, 0, 1)
    return _page_response(
        SamplePage(first=Link(href=first.href), limit=1, total_count=1, items=_items([line]))
    )


def _items(lines: list[bytes]) -> list[Sample]:
    # The lines are the model, encoded.
    return cast("list[Sample]", [msgspec.Raw(line) for line in lines])


def _page_response(page: SamplePage) -> RawResponse:
    return json_response(encode(page))


TIMELINE = Operation(
    success=Success(description="The timeline.", type=SampleTimeline, example=examples.sample_timeline),
    errors=(
        problems.query_parameter_invalid("benchmark_index", "non-negative integer", "seven"),
        *NOT_AVAILABLE,
    ),
)


@route(f"{PATH}/timeline", http_method=READ_METHODS, operation=TIMELINE)
async def samples_timeline(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """Get the numbers of samples by the time at which they ended, and by outcome.

    Only samples whose adapter wrote `ended_at` have a time. Files above 64 MiB have no timeline.
    """
    Query(request.scope).allow_only(())
    samples = await _open(request, job_id, benchmark_index, services)
    details = await asyncio.to_thread(lambda: samples.details)
    return json_response(encode(sample_timeline(samples.index, details.ended_at)))


JSONL = "application/jsonl"
CSV = "text/csv"


def _file_operation(media_type: str, description: str) -> Operation:
    more = (parquet_missing(),) if media_type == PARQUET else ()
    return Operation(
        query=FILTERS,
        success=Success(
            description=description,
            media_types=(media_type,),
            schema={"type": "string"},
            headers=("Content-Disposition", "Content-Security-Policy"),
        ),
        errors=(*INVALID[:2], INVALID[3], *NOT_AVAILABLE, *more),
    )


@route(
    f"{PATH}.jsonl",
    http_method=READ_METHODS,
    operation=_file_operation(JSONL, "The samples, one in each line."),
)
async def samples_jsonl(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> FileResponse:
    """Get the samples of a benchmark as JSON lines.

    The same filters as in lists; without any, all samples.
    """
    samples, rows = await _selected(request, job_id, benchmark_index, services)
    return FileResponse(jsonl_chunks(samples, rows), JSONL, _file_name(job_id, benchmark_index, "jsonl"))


@route(
    f"{PATH}.csv",
    http_method=READ_METHODS,
    operation=_file_operation(CSV, "A table with a header, one sample in each row."),
)
async def samples_csv(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> FileResponse:
    """Get the samples of a benchmark as CSV.

    The same filters as in lists. A text that a spreadsheet would take for a formula gets a leading apostrophe.
    """
    samples, rows = await _selected(request, job_id, benchmark_index, services)
    name = _file_name(job_id, benchmark_index, "csv")
    return FileResponse(csv_chunks(samples, rows), f"{CSV}; charset=utf-8", name)


@route(
    f"{PATH}.parquet",
    http_method=READ_METHODS,
    operation=_file_operation(PARQUET, "A Parquet file with the columns of the CSV."),
)
async def samples_parquet(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> FileResponse:
    """Get the samples of a benchmark as Parquet.

    The same filters as in lists. The server needs its extra `parquet`.
    """
    samples, rows = await _selected(request, job_id, benchmark_index, services)
    file = await asyncio.to_thread(parquet_samples, samples, rows)
    return FileResponse(file_chunks(file), PARQUET, _file_name(job_id, benchmark_index, "parquet"))


def _file_name(job_id: str, index: str, extension: str) -> str:
    return f"{job_id}-{index}.{extension}"


async def _selected(
    request: ApiRequest, job_id: str, index: str, services: Services
) -> tuple[SampleFile, Rows]:
    query = Query(request.scope)
    query.allow_only(names(FILTERS))
    samples = await _open(request, job_id, index, services)
    details = await details_for(query, samples)
    wanted = sample_query(query, samples.index, details)
    selection = await asyncio.to_thread(select, samples.index, wanted, samples.search, (), details)
    return samples, selection.rows


async def _open(request: ApiRequest, job_id: str, index: str, services: Services) -> SampleFile:
    number = index_of(index)
    job = await services.jobs.get(job_id, request.identity)
    return await services.files.open_samples(job, number)


UPLOAD_SAMPLES = Operation(
    query=(ATTEMPT,),
    body=RequestBody(media_type=OCTETS, examples={"one": examples.SAMPLE_LINE}),
    success=Success(description="The samples are stored.", type=SampleSet, example=examples.sample_set),
    errors=(
        problems.query_parameter_invalid("attempt", "positive integer", "0"),
        problems.invalid_json("the connection was closed before the whole body had come"),
        not_found("evaluation job"),
        problems.not_found("benchmark", "7"),
        problems.attempt_superseded(ID, 0, 1, 2),
        problems.samples_not_kept("set samples.url, or start it with --data-dir"),
        problems.upload_too_large("sample file", 8 * 1024**3, "samples.max_bytes"),
        STORE_UNAVAILABLE,
    ),
)


@put(PATH, status_code=200, operation=UPLOAD_SAMPLES)
async def upload_samples(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """Upload the samples of a benchmark: JSON lines. Adapters call this, on the callback URL of their job.

    The upload replaces the samples of the same attempt; a repeated one changes nothing. Lines that are no samples are
    counted and shown in `problems`, and do not make the upload fail. Samples above the server's limits are left out, and the
    `state` is `cut`.
    """
    query = Query(request.scope)
    attempt, index = attempt_of(query), index_of(benchmark_index)
    job = await services.jobs.get(job_id, request.identity)
    return json_response(encode(await services.uploads.upload(job, index, attempt, body_chunks(request))))


sample_router = Router(
    "/api/v1/evaluations/jobs",
    route_handlers=[
        list_samples,
        samples_timeline,
        samples_jsonl,
        samples_csv,
        samples_parquet,
        upload_samples,
    ],
)
