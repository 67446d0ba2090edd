"""The page of one sample: ``/ui/jobs/{job_id}/b/{index}/sample?id=…&epoch=…``, and its texts as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from litestar import route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.sample_details import SampleDetails
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows, select
from evalhub_server.domain.sample_repeats import repeats_of
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.models.sample import Outcome
from evalhub_server.viewer.page import Page, PageState, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.viewer.same_samples import OtherJobs, other_jobs
from evalhub_server.viewer.sample_filter import (
    SAMPLE_FILTERS,
    BenchmarkPages,
    list_filters,
    shown_rows,
    source_of,
    wanted_samples,
)
from evalhub_server.viewer.sample_texts import SampleTexts, shown_text, texts_of
from evalhub_server.web.file_response import FileResponse
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.sample_query import details_for, epoch_of, row_of
from evalhub_server.web.services import Services

PATH = "/jobs/{job_id:str}/b/{benchmark_index:str}/sample"
PARAMETERS = ("id", "epoch", *SAMPLE_FILTERS, "diff", "ws")


class Walk(Struct, kw_only=True, frozen=True):
    """The place of a sample among those of its list. ``position`` counts from 1; 0 if the filters do not select the sample.

    The URLs are empty where there is no such sample.
    """

    position: int
    total: int
    previous: str
    next: str
    next_error: str
    next_failed: str


class Repeat(Struct, kw_only=True, frozen=True):
    """One repeat of the sample."""

    epoch: int
    outcome: str
    url: str
    current: bool


class ShownSample(Struct, kw_only=True, frozen=True):
    """A sample as the page shows it. ``line`` is the sample as the API returns it."""

    line: bytes
    members: dict[str, Any]
    texts: SampleTexts
    walk: Walk
    repeats: list[Repeat]


@route(PATH, http_method=READ_METHODS, include_in_schema=False)
async def sample_page(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> RawResponse:
    """One sample, with links to its neighbours among those that the filters select."""
    query = PageQuery(request, PARAMETERS)
    sample_id, epoch = _sample_of(query)
    state = PageState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    source, pages = await source_of(request, job_id, benchmark_index, services)
    samples = await services.files.open_samples(source.job, source.index)
    row = row_of(samples.index, sample_id, epoch)
    details = await details_for(query, samples)
    shown = await asyncio.to_thread(_shown, query, samples, details, row, pages)
    others = await other_jobs(services, request.identity, source, samples.index, row, pages.prefix)
    return await page_response(request, query, _page(query, source, pages, shown, others), state)


@route(f"{PATH}/text", http_method=READ_METHODS, include_in_schema=False)
async def sample_text(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> FileResponse:
    """One member of a sample exactly as it is: a text, or JSON. An attachment, which no browser shows."""
    query = PageQuery(request, ("id", "epoch", "member"))
    sample_id, epoch = _sample_of(query)
    source, _ = await source_of(request, job_id, benchmark_index, services)
    samples = await services.files.open_samples(source.job, source.index)
    row = row_of(samples.index, sample_id, epoch)
    (line,) = await asyncio.to_thread(list, samples.lines([row]))
    member = query.text("member")
    text = shown_text(cast("dict[str, Any]", msgspec.json.decode(line)).get(member))
    if text is None:
        raise problems.not_found("member of the sample", member)
    body = text.encode("utf-8", "replace")
    name = f"{source.job.id}-{source.index}-{member}.txt"
    return FileResponse(iter((body,)), "text/plain; charset=utf-8", name, len(body))


def _sample_of(query: PageQuery) -> tuple[str, int]:
    sample_id = query.text("id")
    if not sample_id:
        raise problems.query_parameter_invalid("id", "id of a sample", "")
    return sample_id, epoch_of(query)


def _shown(
    query: PageQuery, samples: SampleFile, details: SampleDetails, row: int, pages: BenchmarkPages
) -> ShownSample:
    """Everything of the sample file that the page shows. Blocks; raises :class:`ApiError`."""
    index, filters = samples.index, list_filters(query)
    selection = select(index, wanted_samples(query, index, details), samples.search, (), details)
    rows = shown_rows(query, index, selection.rows)
    (line,) = samples.lines([row])
    members = cast("dict[str, Any]", msgspec.json.decode(line))
    repeats = repeats_of(index, {index.ids[row]})[index.ids[row]]
    return ShownSample(
        line=line,
        members=members,
        texts=texts_of(
            members,
            diff=query.choice("diff", ("", "words", "chars", "off"), ""),
            whitespace=query.choice("ws", ("show", "ignore"), "show"),
        ),
        walk=_walk(index, rows, row, pages, filters, merged=rows is not selection.rows),
        repeats=[
            Repeat(
                epoch=index.epochs[each],
                outcome=index.outcome(each),
                url=pages.sample(index.ids[each], index.epochs[each], filters),
                current=each == row,
            )
            for each in repeats.rows
        ],
    )


def _walk(
    index: SampleIndex,
    rows: Rows,
    row: int,
    pages: BenchmarkPages,
    filters: Mapping[str, list[str]],
    *,
    merged: bool,
) -> Walk:
    def url(each: int | None) -> str:
        return "" if each is None else pages.sample(index.ids[each], index.epochs[each], filters)

    place = _place(index, rows, row)
    after = 0 if place is None else place + 1

    def following(outcome: Outcome) -> str:
        """The next sample with the outcome, or one of whose repeats has it where a sample is one row."""
        if not merged:
            return url(next((each for each in rows[after:] if index.outcome(each) == outcome), None))
        first = {
            index.ids[each]: each for each in range(len(index) - 1, -1, -1) if index.outcome(each) == outcome
        }
        return url(
            next((found for each in rows[after:] if (found := first.get(index.ids[each])) is not None), None)
        )

    return Walk(
        position=after,
        total=len(rows),
        previous=url(rows[place - 1]) if place else "",
        next=url(rows[after]) if after < len(rows) else "",
        next_error=following("error"),
        next_failed=following("failed"),
    )


def _place(index: SampleIndex, rows: Rows, row: int) -> int | None:
    """The position of a sample in a list, which may have another of its repeats; None if it has none."""
    try:
        return rows.index(row)
    except ValueError:
        sample_id = index.ids[row]
        return next((place for place, each in enumerate(rows) if index.ids[each] == sample_id), None)


def _page(
    query: PageQuery, source: Source, pages: BenchmarkPages, shown: ShownSample, others: OtherJobs
) -> Page:
    members, filters = shown.members, list_filters(query)
    sample_id, epoch = members["sample_id"], members["epoch"]
    place = {"id": [sample_id], "epoch": [str(epoch)] if epoch else []}
    return Page(
        name="sample",
        title=" · ".join(part for part in (sample_id[:80], source.planned.id, source.job.model_name) if part),
        section="/ui/jobs",
        values={
            "pages": pages,
            "job": source.job,
            "benchmark": source.planned,
            "sample": members,
            "texts": shown.texts,
            "walk": shown.walk,
            "list_url": pages.samples(filters),
            "repeats": shown.repeats if len(shown.repeats) > 1 else [],
            "passed_repeats": sum(each.outcome == "passed" for each in shown.repeats),
            "others": others,
            "metrics": cast("dict[str, Any]", members.get("metrics") or {}),
            "json": msgspec.json.format(shown.line).decode(),
            "text_urls": {
                name: with_query(f"{pages.benchmark}/sample/text", {**place, "member": [name]})
                for name in members
            },
        },
        data={
            "job_id": source.job.id,
            "benchmark_index": source.index,
            "benchmark": source.planned.id,
            "position": shown.walk.position,
            "total_count": shown.walk.total,
            "sample": members,
            "repeats": [{"epoch": each.epoch, "outcome": each.outcome} for each in shown.repeats],
            "other_jobs": others.jobs,
        },
    )
