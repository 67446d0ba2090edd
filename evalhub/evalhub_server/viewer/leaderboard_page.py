"""The pages of leaderboards: ``/ui/leaderboards``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.comparison_view import JobLeaderboard, ModelResult
from evalhub_server.domain.lineage_view import benchmark_names
from evalhub_server.domain.resource import CollectionRecord, Kind
from evalhub_server.domain.statistics.results import Rank, Ranking
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobQuery, ResourceQuery, Terms
from evalhub_server.viewer.charts import Score, interval_dots
from evalhub_server.viewer.compare_words import half_width
from evalhub_server.viewer.numbers import decimals
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.web.comparison_query import question_of
from evalhub_server.web.comparison_samples import MAX_RUNS
from evalhub_server.web.leaderboards import MAX_JOBS, leaderboard_of_collection
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

PARAMETERS = ("collection", "weights", "cols")
SECTION = "/ui/leaderboards"
MAX_COLUMNS = 8
"""Benchmarks with a column by default."""
MAX_COLLECTIONS = 200
WITH_RESULTS = (State.COMPLETED.value, State.PARTIALLY_FAILED.value)


@route("/leaderboards", http_method=READ_METHODS, include_in_schema=False)
async def leaderboard_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The ranking of the models that ran a collection; without one, the collections that have results."""
    query = PageQuery(request, PARAMETERS)
    all_columns = query.choice("cols", ("", "all"), "") == "all"
    question = question_of(query)
    state = PageState(request, query, services, other=str(services.resources.changes))
    if state.not_modified is not None:
        return state.not_modified
    collection_id = query.text("collection")
    if not collection_id:
        return await page_response(request, query, await _collections(request, services), state)
    collection = await services.resources.get_collection(collection_id, request.identity)
    board = await leaderboard_of_collection(services, request.identity, collection_id, question, wait=False)
    names = benchmark_names(collection.config.benchmarks)
    rows = board_rows(board, names, url_prefix(request.scope))
    shown = names if all_columns else names[:MAX_COLUMNS]
    suite = board.leaderboard.suite
    values = {
        "collection": collection,
        "board": board,
        "suite": suite,
        "rows": rows,
        "benchmarks": shown,
        "hidden": len(names) - len(shown),
        "all_columns": all_columns,
        "lower": lower_is_better(board),
        "places": decimals(half_width(rank.interval) for rank in suite.ranks) if suite else 3,
        "rankings": {each.name: each for each in board.leaderboard.benchmarks},
        "plot": _plot(suite, rows),
        "weights": question.weights,
        "max_jobs": MAX_JOBS,
        "links": _links(rows, collection_id, url_prefix(request.scope)),
    }
    page = Page(
        name="leaderboard",
        title=f"{collection.config.name or collection_id} · Leaderboard",
        section=SECTION,
        values=values,
        data=board,
        table=_table(rows, names),
    )
    return await page_response(request, query, page, state)


class Listed(Struct, kw_only=True, frozen=True):
    """A collection with results. ``name`` and ``benchmarks`` are empty if it was deleted."""

    id: str
    name: str
    description: str
    benchmarks: int
    jobs: int
    href: str


async def _collections(request: ApiRequest, services: Services) -> Page:
    scope = request.identity.scope
    (facet,) = await services.jobs.facets.count(
        JobQuery(tenant=scope, status=Terms(values=WITH_RESULTS)), ["collection_id"]
    )
    found = await services.resources.list(
        ResourceQuery(kind=Kind.COLLECTION, tenant=scope, limit=MAX_COLLECTIONS)
    )
    known = {each.id: each for each in found.items if isinstance(each, CollectionRecord)}
    listed = [
        Listed(
            id=value.value,
            name=known[value.value].config.name if value.value in known else "",
            description=known[value.value].config.description if value.value in known else "",
            benchmarks=len(known[value.value].config.benchmarks) if value.value in known else 0,
            jobs=value.count,
            href=with_query(f"{url_prefix(request.scope)}{SECTION}", {"collection": [value.value]}),
        )
        for value in facet.values
        if value.value
    ]
    return Page(
        name="leaderboards",
        title="Leaderboards",
        section=SECTION,
        values={"collections": listed},
        data={"collections": listed},
        table=Table(
            columns=("id", "name", "benchmarks", "jobs"),
            rows=[(each.id, each.name, each.benchmarks, each.jobs) for each in listed],
        ),
    )


class BoardCell(Struct, kw_only=True, frozen=True):
    """A model's result in a benchmark. ``rank`` is absent for models that the ranking does not have, for the reason ``why``."""

    state: str
    score: float | None
    rank: Rank | None
    why: str
    href: str


class BoardRow(Struct, kw_only=True, frozen=True):
    """A model. ``rank`` is that of the suite; absent without one. ``reason``: why it is left out or has no rank."""

    model: str
    rank: Rank | None
    score: float | None
    job_id: str
    reason: str
    complete: bool
    cells: Mapping[str, BoardCell]


def board_rows(board: JobLeaderboard, names: Sequence[str], prefix: str) -> list[BoardRow]:
    """The rows in order of ranks, then models without a rank, then incomplete ones."""
    suite = board.leaderboard.suite
    ranks = {rank.model: rank for rank in suite.ranks} if suite else {}
    position = {model: number for number, model in enumerate(ranks)}
    rankings = {each.name: each for each in board.leaderboard.benchmarks}
    reasons = {note.code: note.message for note in suite.not_ranked} if suite else {}
    rows = [
        BoardRow(
            model=entry.model,
            rank=ranks.get(entry.model),
            score=entry.score,
            job_id=entry.job.job_id,
            reason=reasons.get(entry.model, ""),
            complete=True,
            cells=_cells(entry.model, entry.results, rankings, names, prefix),
        )
        for entry in board.entries
    ]
    rows.sort(key=lambda row: (position.get(row.model, len(position)), -(row.score or 0.0)))
    rows += [
        BoardRow(
            model=each.model,
            rank=None,
            score=None,
            job_id="",
            reason=each.reason,
            complete=False,
            cells=_cells(each.model, each.results, rankings, names, prefix),
        )
        for each in board.left_out
    ]
    return rows


def _cells(
    model: str,
    results: Mapping[str, ModelResult],
    rankings: Mapping[str, Ranking],
    names: Sequence[str],
    prefix: str,
) -> dict[str, BoardCell]:
    cells: dict[str, BoardCell] = {}
    for name in names:
        result = results.get(name)
        ranking = rankings.get(name)
        ranks = {rank.model: rank for rank in ranking.ranks} if ranking else {}
        why = next((note.message for note in ranking.not_ranked if note.code == model), "") if ranking else ""
        cells[name] = BoardCell(
            state=result.state.value if result else "",
            score=result.score if result else None,
            rank=ranks.get(model),
            why=why,
            href=f"{prefix}/ui/jobs/{result.job_id}/b/{result.benchmark_index}" if result else "",
        )
    return cells


def lower_is_better(board: JobLeaderboard) -> frozenset[str]:
    """The benchmarks whose primary score is better the lower it is."""
    found = [each.results for each in (*board.entries, *board.left_out)]
    return frozenset(name for results in found for name, each in results.items() if each.lower_is_better)


def _plot(suite: Ranking | None, rows: Sequence[BoardRow]) -> Markup:
    if suite is None:
        return Markup()
    links = {row.model: next((cell.href for cell in row.cells.values() if cell.href), "") for row in rows}
    shown = [
        Score(
            rank.model,
            rank.score,
            rank.interval.low if rank.interval else None,
            rank.interval.high if rank.interval else None,
            href=links[rank.model].partition("/b/")[0],
        )
        for rank in suite.ranks
    ]
    return interval_dots(shown, title="Overall scores with intervals")


def _links(rows: Sequence[BoardRow], collection_id: str, prefix: str) -> dict[str, str]:
    """The addresses of the trend of the collection, and of the comparison of the first models with the first one."""
    first, *others = [row.job_id for row in rows if row.complete][:MAX_RUNS] or [""]
    compared = with_query(f"{prefix}/ui/compare", {"base": [first], "with": others}) if others else ""
    return {"trend": with_query(f"{prefix}/ui/trend", {"collection": [collection_id]}), "compare": compared}


def _table(rows: Sequence[BoardRow], names: Sequence[str]) -> Table:
    values: list[Sequence[Any]] = []
    for row in rows:
        rank = row.rank
        interval = rank.interval if rank else None
        values.append(
            (
                row.model,
                rank.best_rank if rank else None,
                rank.worst_rank if rank else None,
                rank.score if rank else row.score,
                interval.low if interval else None,
                interval.high if interval else None,
                *(cell.rank.score if (cell := row.cells[name]).rank else cell.score for name in names),
                row.job_id,
                row.reason,
            )
        )
    return Table(
        columns=("model", "best_rank", "worst_rank", "overall", "low", "high", *names, "job", "reason"),
        rows=values,
    )
