"""The page of one sample in all jobs of a comparison, side by side: ``/ui/compare/sample``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_view import RunSample
from evalhub_server.domain.statistics.changes import Change
from evalhub_server.domain.table_formats import plain_cell
from evalhub_server.viewer.compare_rows import Run
from evalhub_server.viewer.compare_words import GLYPHS, LABELS
from evalhub_server.viewer.compared_jobs import (
    COMPARED,
    baselines_state,
    chosen_jobs,
    compared_jobs,
    row_filter,
)
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.viewer.sample_filter import BenchmarkPages
from evalhub_server.viewer.sample_texts import shown_text
from evalhub_server.viewer.text import DETAIL_CHARACTERS, detail, visible
from evalhub_server.viewer.word_diff import diff_html, text_diff
from evalhub_server.web.comparison_query import required_of
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.sample_changes import SampleChanges, changed_samples
from evalhub_server.web.sample_query import epoch_of
from evalhub_server.web.services import Services

PARAMETERS = (*COMPARED, "id", "epoch")


class Shown(Struct, kw_only=True, frozen=True):
    """A text of a run; ``html`` has what differs from the baseline's, if both have one and differences are shown."""

    html: Markup
    notes: Sequence[str] = ()
    equal: bool = False


class Side(Struct, kw_only=True, frozen=True):
    """The sample in one run. ``sample`` is None if the run does not have it in this epoch."""

    run: Run
    change: Change | None
    sample: dict[str, Any] | None
    score: float | None = None
    answer: str | None = None
    error: str = ""
    response: Shown | None = None
    input: Shown | None = None
    expected: Shown | None = None
    url: str = ""


class Place(Struct, kw_only=True, frozen=True):
    """The place of the sample in the list that the filters select, from 1; 0 if it is not in it."""

    position: int
    total: int
    previous: str
    next: str


def sample_url(request: ApiRequest, query: PageQuery, benchmark: str) -> Callable[[str], str]:
    """Addresses of samples of a list, by id."""
    kept = {name: query.texts(name) for name in COMPARED} | {"benchmark": [benchmark]}
    path = f"{url_prefix(request.scope)}/ui/compare/sample"
    return lambda sample_id: with_query(path, {**kept, "id": [sample_id]})


@route("/compare/sample", http_method=READ_METHODS, include_in_schema=False)
async def compare_sample_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """One sample in all jobs, with links to its neighbours among those that the filters select."""
    query = PageQuery(request, PARAMETERS)
    wanted = row_filter(query)
    required_of(query, "base")
    required_of(query, "with")
    benchmark, sample_id = required_of(query, "benchmark"), required_of(query, "id")
    epoch = epoch_of(query)
    base, others = chosen_jobs(query)
    named = await baselines_state(services, request.identity, (base, *others))
    state = PageState(request, query, services, named)
    if (known := await state.known_response()) is not None:
        return known
    compared = await compared_jobs(request, services, query, base, others)
    if len(compared.jobs) < 2:
        raise problems.not_found("evaluation job", others[0]) if others else problems.same_job(base)
    changes = await changed_samples(services, compared.jobs, compared.views, benchmark, compared.question)
    epochs = changes.epochs(sample_id)
    if epochs and not query.given("epoch"):
        epoch = epochs[0]
    if epoch not in epochs:
        raise problems.not_found("sample", sample_id if epoch == 0 else f"{sample_id} (epoch {epoch})")
    rows, _ = await wanted.rows(changes)
    row = changes.changes.ids.index(sample_id)
    found = await changes.whole(sample_id, epoch)
    prefix = url_prefix(request.scope)
    sides = await asyncio.to_thread(_sides, compared.runs, changes, row, found, prefix, diff=wanted.diff)
    known = next(each.sample for each in sides if each.sample is not None)
    kept = {name: query.texts(name) for name in COMPARED}
    place = _place(query, changes, rows, row)
    values = {
        "sides": sides,
        "missing": [each for each in compared.runs if each.missing],
        "without_samples": [each for each in changes.candidates if each.no_samples],
        "benchmark": benchmark,
        "sample_id": sample_id,
        "other_content": sample_id in changes.changes.other_content,
        "metric": changes.metric,
        "input": shown_text(known.get("input")),
        "expected": shown_text(known.get("target")),
        "labels": LABELS,
        "glyphs": GLYPHS,
        "diff": wanted.diff,
        "place": place,
        "epochs": [(each, query.url(epoch=each), each == epoch) for each in epochs]
        if len(epochs) > 1
        else [],
        "list_url": with_query(f"{prefix}/ui/compare", kept),
    }
    page = Page(
        name="compare_sample",
        title=f"{visible(sample_id, 80)} · {visible(benchmark, 80)} · Compare",
        section="/ui/jobs",
        values=values,
        data={
            "benchmark": benchmark,
            "metric": changes.metric,
            "sample_id": sample_id,
            "epoch": epoch,
            "other_content": values["other_content"],
            "position": place.position,
            "total_count": len(rows),
            "runs": [
                {"run": each.run, "change": each.change, "score": each.score, "sample": each.sample}
                for each in sides
            ],
        },
        table=_table(sides),
    )
    return await page_response(request, query, page, state)


def _place(query: PageQuery, changes: SampleChanges, rows: Sequence[int], row: int) -> Place:
    def url(at: int) -> str:
        return query.url(id=changes.changes.ids[rows[at]], epoch=None)

    at = rows.index(row) if row in rows else -1
    return Place(
        position=at + 1,
        total=len(rows),
        previous=url(at - 1) if at > 0 else "",
        next=url(at + 1) if at + 1 < len(rows) else "",
    )


def _sides(
    runs: Sequence[Run],
    changes: SampleChanges,
    row: int,
    found: Sequence[RunSample | None],
    prefix: str,
    *,
    diff: bool,
) -> list[Side]:
    """The sample in each run with samples, the baseline first. Blocks: it compares texts."""
    named = {each.job_id: each for each in runs}
    compared = [changes.baseline, *(each for each in changes.candidates if not each.no_samples)]
    samples = [None if each is None else _members(each) for each in found]
    base = samples[0]
    # All differences of a page together take as long as one of the longest texts.
    limit = DETAIL_CHARACTERS // max(len(compared) - 1, 1)
    other_content = changes.changes.ids[row] in changes.changes.other_content
    sides: list[Side] = []
    for number, (each, side, sample) in enumerate(zip(compared, found, samples, strict=True)):
        change = changes.changes.of(number - 1, row) if number else None
        if side is None or sample is None:
            sides.append(Side(run=named[each.job_id], change=change, sample=None))
            continue
        before = base if diff and number else None

        def shown(
            name: str, sample: dict[str, Any] = sample, before: dict[str, Any] | None = before
        ) -> Shown | None:
            return _shown(sample, before, name, limit)

        pages = BenchmarkPages(prefix, each.source, each.benchmark_index)
        sides.append(
            Side(
                run=named[each.job_id],
                change=change,
                sample=sample,
                score=side.score,
                answer=shown_text(sample.get("answer")),
                error=shown_text(sample.get("error")) or "",
                response=shown("output"),
                input=shown("input") if other_content else None,
                expected=shown("target") if other_content else None,
                url=pages.sample(sample["sample_id"], sample["epoch"], {}),
            )
        )
    return sides


def _members(run: RunSample) -> dict[str, Any]:
    return cast("dict[str, Any]", msgspec.json.decode(cast("msgspec.Raw", run.sample)))


def _shown(sample: dict[str, Any], before: dict[str, Any] | None, name: str, limit: int) -> Shown | None:
    text = shown_text(sample.get(name))
    if text is None:
        return None
    first = shown_text(before.get(name)) if before is not None else None
    if first is None:
        return Shown(html=detail(text))
    if first == text:
        return Shown(html=detail(text), equal=True)
    difference = text_diff(first, text, limit=limit)
    return Shown(html=diff_html(difference), notes=difference.notes)


def _table(sides: Sequence[Side]) -> Table:
    """A row for each run, for other formats than HTML."""
    columns = ("run", "job_id", "model", "change", "outcome", "score", "answer", "response", "error")
    rows: list[Sequence[Any]] = []
    for each in sides:
        sample = each.sample or {}
        rows.append(
            (
                each.run.letter,
                each.run.job_id,
                each.run.model,
                each.change or "",
                sample.get("outcome", ""),
                each.score,
                each.answer or "",
                plain_cell(sample.get("output")),
                each.error,
            )
        )
    return Table(columns=columns, rows=rows)
