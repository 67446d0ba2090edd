"""The page of jobs: ``/ui/jobs``."""

from __future__ import annotations

from typing import cast, get_args

from litestar import route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.job_view import job_summary
from evalhub_server.engine.job_facets import MAX_JOBS
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobFacetName, JobQuery, JobSort
from evalhub_server.viewer.facet_menu import facet_line
from evalhub_server.viewer.job_row import JobRow, job_row
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.viewer.selection_page import BUTTONS
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

LABELS = {
    "model": "model_name",
    "collection": "collection_id",
    "provider": "provider_id",
    "benchmark": "benchmark_id",
    "experiment": "experiment_name",
}
"""The parameters of the page that filter by a label of jobs, with the label."""

FACETS: dict[str, JobFacetName] = {
    "state": "status",
    "model": "model_name",
    "collection": "collection_id",
    "provider": "provider_id",
    "benchmark": "benchmark_id",
    "tag": "tags",
    "owner": "owner",
}
"""The parameters of the page whose values are counted, with the facet of the API."""

MENU_JOBS = 1_000
"""The newest jobs whose values are counted for menus; counts of states are over more."""

PARAMETERS = ("q", "state", "tag", "owner", *LABELS, "since", "sort", "size", "offset")
SORTS: tuple[JobSort, ...] = get_args(JobSort)
STATES = tuple(state.value for state in State)
COLUMNS = (
    "id",
    "name",
    "state",
    "model",
    "collection",
    "benchmarks",
    "score",
    "pass",
    "created_at",
    "duration_s",
    "owner",
    "tags",
)


@route("/jobs", http_method=READ_METHODS, include_in_schema=False)
async def jobs_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The jobs that the filters select, with their progress and scores."""
    query = PageQuery(request, PARAMETERS)
    listed = _listed(query, request.identity.scope)
    state = PageState(request, query, services, str(services.comparisons.known.computed))
    if (known := await state.known_response()) is not None:
        return known
    (states,) = await services.jobs.facets.count(listed, ["status"])
    if query.text("sort") or query.text("state"):
        found = await services.jobs.list(listed)
    else:
        running = sum(each.count for each in states.values if each.value == State.RUNNING.value)
        found = await services.jobs.list_running_first(listed, running if states.jobs < MAX_JOBS else None)
    rows = [job_row(job, services) for job in found.items]
    lines = [facet_line(query, "state", states)]
    if not query.part or not rows:  # where rows are replaced in an open page, its menus stay as they are
        names = [name for name in FACETS if name != "state"]
        facets = await services.jobs.facets.count(listed, [FACETS[name] for name in names], MENU_JOBS)
        lines += [facet_line(query, name, facet) for name, facet in zip(names, facets, strict=True)]
    values = {
        "rows": rows,
        "total": found.total_count,
        "in_any_state": states.jobs if query.text("state") and states.jobs < MAX_JOBS else None,
        **query.row_links(len(rows), found.total_count),
        "facets": lines,
        "counts": {value.value: value.count for value in states.values},
        "filters": query.chips((*FACETS, "experiment", "q", "since")),
        "sorts": query.sort_links(SORTS),
        "sort": query.text("sort") or "-created_at",
        "selection_actions": BUTTONS.items(),
    }
    return await page_response(
        request,
        query,
        Page(
            name="jobs",
            title=_title(query),
            section="/ui/jobs",
            values=values,
            data=lambda: {
                "total_count": found.total_count,
                "items": [job_summary(job) for job in found.items],
            },
            table=Table(columns=COLUMNS, rows=map(_table_row, rows)),
            refresh_s=3 if any(row.state in ("running", "pending") for row in rows) else 15,
        ),
        state,
    )


def _listed(query: PageQuery, scope: str | None) -> JobQuery:
    sort = query.choice("sort", (*SORTS, *(f"-{sort}" for sort in SORTS)), "-created_at")
    for state in query.text("state").split("|"):
        if state.removeprefix("!") not in ("", *STATES):
            raise problems.query_parameter_value_invalid("state", "|".join(STATES))
    labels = {label: query.terms(name) for name, label in LABELS.items()}
    return JobQuery(
        tenant=scope,
        limit=query.size(),
        offset=query.integer("offset", 0),
        status=query.terms("state", negatable=True),
        tags=query.terms("tag"),
        owner=query.terms("owner"),
        labels={label: terms for label, terms in labels.items() if terms is not None},
        name_prefix=query.text("q"),
        created_after=query.moment("since"),
        sort=cast("JobSort", sort.removeprefix("-")),
        descending=sort.startswith("-"),
    )


def _title(query: PageQuery) -> str:
    words = [f"{name} = {' or '.join(query.text(name).split('|'))}" for name in FACETS if query.text(name)]
    words += [f"name begins with {query.text('q')}"] if query.text("q") else []
    return " · ".join(("Jobs", *words))


def _table_row(row: JobRow) -> tuple[object, ...]:
    return (
        row.id, row.name, row.state, row.model, row.what, row.benchmarks, row.score, row.passed,
        row.created_at.isoformat(), row.duration_s, row.owner, ", ".join(row.tags),
    )  # fmt: skip
