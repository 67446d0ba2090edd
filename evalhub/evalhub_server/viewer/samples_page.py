"""The page of the samples of a benchmark: ``/ui/jobs/{job_id}/b/{index}/samples``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.sample_query import FACETS, METADATA, SORTS, select
from evalhub_server.domain.sample_repeats import has_repeats
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.errors import ApiError
from evalhub_server.models.sample import OUTCOMES, Facet, Outcome, SampleSet
from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.outcomes import outcome_bar
from evalhub_server.viewer.facet_menu import MAX_VALUES, FacetLine
from evalhub_server.viewer.page import Page, PageState, Table, format_of, page_response
from evalhub_server.viewer.page_query import COMMON, PageQuery, with_query
from evalhub_server.viewer.sample_columns import (
    Column,
    default_columns,
    shown_columns,
)
from evalhub_server.viewer.sample_filter import (
    LIST_FILTERS,
    BenchmarkPages,
    each_repeat,
    source_of,
    wanted_samples,
)
from evalhub_server.viewer.sample_list import SampleList, list_samples
from evalhub_server.viewer.sample_parts import MAX_KEY_CHARACTERS, Parts, key_of_parts, parts_of
from evalhub_server.viewer.text import visible
from evalhub_server.web.file_response import FileResponse
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import SelfSending
from evalhub_server.web.sample_export import csv_chunks
from evalhub_server.web.sample_query import details_for
from evalhub_server.web.services import Services

MAX_FACETS = 12
"""Facets with a menu; those of metadata come last."""
PARAMETERS = (*LIST_FILTERS, "cols", "size", "after", "by")


@route(
    "/jobs/{job_id:str}/b/{benchmark_index:str}/samples", http_method=READ_METHODS, include_in_schema=False
)
async def samples_page(
    request: ApiRequest,
    job_id: FromPath[str],
    benchmark_index: FromPath[str],
    services: NamedDependency[Services],
) -> SelfSending:
    """The samples that the filters select; as CSV, all of them, whole."""
    query = PageQuery(request, PARAMETERS)
    state = PageState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    source, pages = await source_of(request, job_id, benchmark_index, services)
    try:
        samples = await services.files.open_samples(source.job, source.index)
    except ApiError as error:
        if error.code != "samples_not_available":
            raise
        return await page_response(request, query, _without_samples(source, pages, error), state)
    details = await details_for(query, samples, FACETS)
    wanted = wanted_samples(query, samples.index, details)
    if format_of(request) == "csv":
        selection = await asyncio.to_thread(select, samples.index, wanted, samples.search, (), details)
        name = f"{source.job.id}-{source.index}.csv"
        return FileResponse(csv_chunks(samples, selection.rows), "text/csv; charset=utf-8", name)
    listed = await asyncio.to_thread(list_samples, query, samples, details, wanted, source, pages)
    score = await _score(services, source)
    by = key_of_parts(query, details)
    groups = await services.comparisons.group_scores(source, by)
    parts = parts_of(query, pages, by, groups, samples.index, details)
    page = _page(query, source, pages, samples, listed, score, parts)
    return await page_response(request, query, page, state)


async def _score(services: Services, source: Source) -> ScoredBenchmark | None:
    """The score of the whole benchmark, as the API returns it; None before it has a result."""
    scores = await services.comparisons.scores({source.planned.id: source}, Question())
    return scores[0] if scores else None


def head_values(source: Source, pages: BenchmarkPages, samples: SampleSet | None) -> dict[str, Any]:
    """What stands above the samples of a benchmark."""
    return {
        "pages": pages,
        "job": source.job,
        "benchmark": source.planned,
        "sample_set": samples,
    }


def _page(
    query: PageQuery,
    source: Source,
    pages: BenchmarkPages,
    samples: SampleFile,
    listed: SampleList,
    score: ScoredBenchmark | None,
    parts: Parts,
) -> Page:
    index = samples.index
    chosen = [column for column in listed.columns if column.name in query.texts("cols")]
    _check_columns(query, listed.columns)
    values = [row.values for row in listed.rows]
    columns = shown_columns(chosen or default_columns(listed.columns), values, fold=not chosen)
    counts = index.counts()
    outcome_counts: dict[Outcome, int] = {outcome: counts.get(outcome, 0) for outcome in OUTCOMES}
    links: dict[Outcome, str] = {outcome: pages.samples({"outcome": [outcome]}) for outcome in OUTCOMES}
    summary = score.summary if score else None
    sorts = [*SORTS, *(column.sort for column in columns.columns if column.sort)]
    return Page(
        name="samples",
        title=_title(query, source),
        section="/ui/jobs",
        values={
            **head_values(source, pages, current_set(source.record)),
            "unavailable": "",
            "rows": listed.rows,
            "columns": columns.columns,
            "same": columns.same,
            "choices": [(column, column in columns.columns) for column in listed.columns],
            "outcomes": [(outcome, outcome_counts[outcome], url) for outcome, url in links.items()],
            "bar": outcome_bar(outcome_counts, title="Outcomes of all samples", links=links),
            "score": score,
            "score_counts": numbers.sample_counts(summary) if summary else "",
            "notes": [note.message for note in summary.notes] if summary and not summary.interval else [],
            "parts": parts,
            "all_rows": len(index),
            "all_samples": len(set(index.ids)) if has_repeats(index) else len(index),
            "merged": has_repeats(index) and not each_repeat(query),
            "repeated": has_repeats(index),
            "total": listed.total,
            "first": listed.start + 1,
            "last": listed.start + len(listed.rows),
            "next": "" if listed.after is None else query.url(after=listed.after),
            "previous": ""
            if listed.before is None
            else query.url(after=listed.before if listed.before >= 0 else None),
            "facets": [_facet_line(query, facet) for facet in listed.facets if _is_choice(query, facet)][
                :MAX_FACETS
            ],
            "filters": query.chips(name for name in LIST_FILTERS if name not in ("sort", "repeats")),
            "kept": [
                (name, text) for name in (*LIST_FILTERS, "cols", "size", "by") for text in query.texts(name)
            ],
            "metric_names": ["latency_s", *index.metrics],
            "sorts": query.sort_links(sorts),
            "sort": query.text("sort") or "position",
        },
        data=lambda: {
            "job_id": source.job.id,
            "benchmark_index": source.index,
            "benchmark": source.planned.id,
            "outcomes": counts,
            "score": summary,
            "parts": {"by": parts.by, "scores": [each.score for each in parts.scores]},
            "total_count": listed.total,
            "facets": listed.facets,
            "items": [msgspec.json.decode(line) for line in listed.lines],
        },
        table=Table(
            columns=["sample_id", "epoch", "outcome", *(column.name for column in columns.columns)],
            rows=[
                (row.id, row.epoch, row.outcome, *(row.values[column.name] for column in columns.columns))
                for row in listed.rows
            ],
        ),
    )


def _is_choice(query: PageQuery, facet: Facet) -> bool:
    """Whether a facet has more than one value, or is filtered by."""
    if query.given(facet.name) or facet.name in query.texts("missing"):
        return True
    # A key that few samples have, always with the same value, is no choice.
    fewest = 2 if facet.name.startswith(METADATA) else 1
    return facet.distinct > 1 and sum(bool(each.value) for each in facet.values) >= fewest


def _facet_line(query: PageQuery, facet: Facet) -> FacetLine:
    """The values of a facet, "without one" among them. A value replaces the chosen one."""
    given = {name: texts for name, texts in query.given_values.items() if name not in (*COMMON, "after")}
    if facet.name.startswith(METADATA):
        key = facet.name.removeprefix(METADATA)
        others = [text for text in query.texts("metadata") if not text.startswith(f"{key}:")]

        def chosen(value: str) -> dict[str, list[str]]:
            return {"metadata": [*others, f"{key}:{value}"]}
    else:
        key = facet.name
        others = [name for name in query.texts("missing") if name != key]

        def chosen(value: str) -> dict[str, list[str]]:
            return {key: [value], "missing": others} if value else {key: [], "missing": [*others, key]}

    return FacetLine(
        name=visible(key, MAX_KEY_CHARACTERS),
        distinct=facet.distinct,
        values=[
            (each.value, each.count, with_query(query.path, {**given, **chosen(each.value)}))
            for each in facet.values[:MAX_VALUES]
        ],
    )


def _check_columns(query: PageQuery, columns: Sequence[Column]) -> None:
    """Raise :class:`ApiError` for a column that no sample of the benchmark can have."""
    known = {column.name for column in columns}
    for name in query.texts("cols"):
        # Another page of the same list may have other metadata.
        if name not in known and not name.startswith("metadata."):
            raise problems.query_parameter_value_invalid("cols", "|".join(sorted(known)))


def _title(query: PageQuery, source: Source) -> str:
    words = [
        f"{name} = {' or '.join(' or '.join(query.texts(name)).split('|'))}"
        for name in FACETS
        if name != "metadata" and query.texts(name)
    ]
    words += [text.replace(":", " = ", 1) for text in query.texts("metadata")]
    words += [text.replace(":", " ") for text in query.texts("metric")]
    words += [f"no {name.replace('_', ' ')}" for name in query.texts("missing")]
    words += [f"“{query.text('q')}”"] if query.text("q") else []
    parts = ["Samples", source.planned.id, source.job.model_name, " and ".join(words)]
    return " · ".join(part for part in parts if part)


def _without_samples(source: Source, pages: BenchmarkPages, error: ApiError) -> Page:
    """The page of a benchmark that has no samples, or none yet."""
    samples = current_set(source.record)
    pending = samples.state == "pending" if samples else source.record.has_workload
    return Page(
        name="samples",
        title=f"Samples · {source.planned.id}",
        section="/ui/jobs",
        values={**head_values(source, pages, samples), "unavailable": error.message, "pending": pending},
        data={"job_id": source.job.id, "benchmark_index": source.index, "message": error.message},
        refresh_s=3 if pending else 0,
    )
