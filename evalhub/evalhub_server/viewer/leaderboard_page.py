"""The pages of leaderboards: ``/ui/leaderboards``."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.comparison_view import JobLeaderboard
from evalhub_server.domain.leaderboard_entries import BEST_FIRST, SORTS, other_settings
from evalhub_server.domain.lineage_view import benchmark_names
from evalhub_server.domain.resource import CollectionRecord, Kind
from evalhub_server.domain.statistics.results import Ranking
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobQuery, ResourceQuery, Terms
from evalhub_server.viewer.charts import Score, interval_dots
from evalhub_server.viewer.compare_words import half_width
from evalhub_server.viewer.leaderboard_rows import BoardRow, board_rows, lower_is_better, table_of
from evalhub_server.viewer.numbers import decimals
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.web.comparison_samples import MAX_RUNS
from evalhub_server.web.leaderboard_query import BOARD_NAMES, collection_board_query
from evalhub_server.web.leaderboards import MAX_JOBS, leaderboard_of_collection
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

PARAMETERS = ("collection", "weights", "metric", *BOARD_NAMES, "cols")
SECTION = "/ui/leaderboards"
MAX_COLUMNS = 8
"""Benchmarks with a column by default."""
MAX_COLLECTIONS = 200
RUNS_TITLES = {"latest": "", "mean": "mean of runs", "best": "best of runs"}
Choices = Sequence[tuple[str, bool, str]]
WITH_RESULTS = (State.COMPLETED.value, State.PARTIALLY_FAILED.value)


@route("/leaderboards", http_method=READ_METHODS, include_in_schema=False)
async def leaderboard_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The ranking of the models that ran a collection; without one, the collections that have results."""
    query = PageQuery(request, PARAMETERS)
    all_columns = query.choice("cols", ("", "all"), "") == "all"
    wanted = collection_board_query(query)
    state = PageState(request, query, services, other=str(services.resources.changes))
    if (known := await state.known_response()) is not None:
        return known
    collection_id = query.text("collection")
    if not collection_id:
        return await page_response(request, query, await _collections(request, services), state)
    collection = await services.resources.get_collection(collection_id, request.identity)
    board = await leaderboard_of_collection(services, request.identity, collection_id, wanted, wait=False)
    all_names = benchmark_names(collection.config.benchmarks)
    ranked = {each.name for each in board.leaderboard.benchmarks}
    names = [name for name in all_names if name in ranked]
    prefix = url_prefix(request.scope)
    rows = board_rows(board, names, prefix)
    shown = names if all_columns else names[:MAX_COLUMNS]
    suite = board.leaderboard.suite
    lower = lower_is_better(board)
    values = {
        "collection": collection,
        "board": board,
        "suite": suite,
        "rows": rows,
        "lettered": any(row.groups for row in rows),
        "benchmarks": shown,
        "hidden": len(names) - len(shown),
        "all_columns": all_columns,
        "lower": lower,
        "places": decimals(half_width(rank.interval) for rank in suite.ranks) if suite else 3,
        "rankings": {each.name: each for each in board.leaderboard.benchmarks},
        "plot": _plot(suite, rows),
        "wanted": wanted,
        "others": other_settings((*board.entries, *board.left_out)),
        "max_jobs": MAX_JOBS,
        "links": _links(rows, collection_id, prefix),
        "filters": query.chips(("model", "bench", "since", "metric")),
        "menus": _menus(query, all_names, [row.model for row in rows if row.model]),
        "sorts": _sorts(query, wanted.sort, names, lower),
        "kept": [(name, text) for name in PARAMETERS if name != "since" for text in query.texts(name)],
    }
    page = Page(
        name="leaderboard",
        title=_title(collection.config.name or collection_id, board),
        section=SECTION,
        values=values,
        data=board,
        table=table_of(rows, names),
    )
    return await page_response(request, query, page, state)


def _title(name: str, board: JobLeaderboard) -> str:
    chosen = len(board.leaderboard.benchmarks)
    part = f"{chosen} of {board.all_benchmarks} benchmarks" if chosen < board.all_benchmarks else ""
    return " · ".join(each for each in (name, part, RUNS_TITLES[board.runs], "Leaderboard") if each)


def _menus(query: PageQuery, names: Sequence[str], models: Sequence[str]) -> list[tuple[str, Choices]]:
    """The benchmarks and the models to choose from: name, whether it is chosen, and the URL that changes that."""
    return [
        (title, [(name, name in query.texts(parameter), query.toggled(parameter, name)) for name in found])
        for title, parameter, found in (("benchmarks", "bench", names), ("models", "model", models))
        if len(found) > 1
    ]


def _sorts(query: PageQuery, sort: str, names: Sequence[str], lower: frozenset[str]) -> dict[str, str]:
    """The URLs that sort by a column, the best first, and then by the worst."""
    found: dict[str, str] = {}
    for name in (*SORTS, *names):
        first, second = (name, f"-{name}") if name in lower or name == "model" else (f"-{name}", name)
        wanted = second if sort == first else first
        found[name] = query.url(sort=wanted if wanted != BEST_FIRST else None)
    return found


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
