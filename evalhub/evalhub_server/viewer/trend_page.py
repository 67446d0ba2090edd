"""The page of scores over time: ``/ui/trend``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.lineage_view import benchmark_names
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.statistics.results import BenchmarkComparison
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.identity import Identity
from evalhub_server.models.trend import CollectionSeries, TrendPoint, Trends, TrendSeries
from evalhub_server.plugins.storage import JobFacetName, JobQuery, Terms
from evalhub_server.viewer.charts import Point, Series, trend
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services
from evalhub_server.web.trends import metric_of, trends_of

LABELS: dict[str, JobFacetName] = {
    "collection": "collection_id",
    "provider": "provider_id",
    "benchmark": "benchmark_id",
    "model": "model_name",
}
"""The parameters of the page that select jobs, with the label of jobs."""
PARAMETERS = (*LABELS, "metric", "since", "x", "jobs")
JOBS = ("40", "100", "200", "500")
"""Numbers of jobs that can be shown; the default is a page of 15 KB."""
MAX_CHARTS = 12
MAX_CHOICES = 30
MAX_VERDICTS = 6
"""Pairs of jobs whose last change gets a verdict; each is a comparison."""


class Change(Struct, kw_only=True, frozen=True):
    """The last change of a series: what the comparison of its last two runs says, and where it is shown."""

    model: str
    comparison: BenchmarkComparison
    href: str


class Chart(Struct, kw_only=True, frozen=True):
    """One of the small multiples with its numbers."""

    title: str
    lower_is_better: bool
    svg: Markup
    changes: Sequence[Change]
    rows: Sequence[tuple[str, Point]]
    alone: bool
    """No series has two points, so there is no trend."""


@route("/trend", http_method=READ_METHODS, include_in_schema=False)
async def trend_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The scores of models over time, a chart for each benchmark; without a choice, what there is to choose from."""
    query = PageQuery(request, PARAMETERS)
    by_run = query.choice("x", ("time", "run"), "time") == "run"
    limit = int(query.choice("jobs", JOBS, JOBS[0]))
    metric = metric_of(query)
    labels = {label: query.terms(name) for name, label in LABELS.items()}
    jobs = JobQuery(
        tenant=request.identity.scope,
        limit=limit,
        labels={str(label): terms for label, terms in labels.items() if terms is not None},
        created_after=query.moment("since"),
    )
    state = PageState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    if not jobs.labels:
        return await page_response(request, query, await _start(query, services, jobs), state)
    trends, found = await trends_of(services, jobs, metric, sample_intervals=True)
    changes = await _changes(services, request.identity, trends, found, url_prefix(request.scope))
    charts = _charts(trends, changes, url_prefix(request.scope), by_run=by_run)
    values = {
        "charts": charts[:MAX_CHARTS],
        "more": len(charts) - MAX_CHARTS,
        "trends": trends,
        "filters": query.chips((*LABELS, "metric", "since")),
        "by_run": by_run,
        "sizes": [(size, query.url(jobs=size if size != JOBS[0] else None)) for size in JOBS],
        "size": str(limit),
    }
    page = Page(
        name="trend",
        title=" · ".join(
            (
                "Trend",
                *(
                    f"{name} {' or '.join(query.text(name).split('|'))}"
                    for name in LABELS
                    if query.text(name)
                ),
            )
        ),
        section="/ui/trend",
        values=values,
        data=trends,
        table=_table(trends),
    )
    return await page_response(request, query, page, state)


async def _start(query: PageQuery, services: Services, jobs: JobQuery) -> Page:
    """What there is to look at, from the newest jobs that completed."""
    facets = await services.jobs.facets.count(
        JobQuery(tenant=jobs.tenant, status=Terms(values=("completed", "partially_failed"))),
        list(LABELS.values()),
    )
    choices = [
        (
            name,
            facet.distinct,
            [
                (value.value, value.count, query.url(**{name: value.value}))
                for value in facet.values[:MAX_CHOICES]
                if value.value
            ],
        )
        for name, facet in zip(LABELS, facets, strict=True)
    ]
    return Page(
        name="trend_start",
        title="Trend",
        section="/ui/trend",
        values={"choices": [each for each in choices if each[2]]},
        data={"facets": facets},
    )


SeriesKey = tuple[str, str, str, str]


def _key(series: TrendSeries) -> SeriesKey:
    return series.provider_id, series.benchmark_id, series.metric, series.model_name


async def _changes(
    services: Services, identity: Identity, trends: Trends, jobs: Sequence[JobRecord], prefix: str
) -> Mapping[SeriesKey, Change]:
    """The comparisons of the last two runs of series, for the first few pairs of jobs."""
    known = {job.id: job for job in jobs}
    compared: dict[tuple[str, str, str], Mapping[str, BenchmarkComparison]] = {}
    found: dict[SeriesKey, Change] = {}
    for series in trends.series:
        if len(series.points) < 2:
            continue
        before, last = series.points[-2:]
        pair = before.job_id, last.job_id, series.metric
        if before.job_id == last.job_id or (pair not in compared and len(compared) == MAX_VERDICTS):
            continue
        if pair not in compared:
            views = [await services.comparisons.view(known[each], identity) for each in pair[:2]]
            suite = await services.comparisons.compare(views[0], views[1], Question(metric=series.metric))
            compared[pair] = {each.name: each for each in suite.benchmarks}
        name = benchmark_names(known[last.job_id].plan.benchmarks)[last.benchmark_index]
        comparison = compared[pair].get(name)
        if comparison is not None:
            href = f"{prefix}/ui/compare?base={before.job_id}&with={last.job_id}"
            found[_key(series)] = Change(model=series.model_name, comparison=comparison, href=href)
    return found


def _charts(trends: Trends, changes: Mapping[SeriesKey, Change], prefix: str, *, by_run: bool) -> list[Chart]:
    charts: list[Chart] = []
    collections: dict[str, list[CollectionSeries]] = {}
    for each in trends.collections:
        collections.setdefault(each.collection_id, []).append(each)
    for name, group in collections.items():
        series = [
            Series(
                each.model_name or "(unnamed)",
                [Point(p.created_at, p.value, href=f"{prefix}/ui/jobs/{p.job_id}") for p in each.points],
            )
            for each in group
        ]
        thresholds = [p.threshold for each in group for p in each.points if p.threshold is not None]
        charts.append(_chart(f"{name}: overall", series, thresholds, by_run=by_run))
    benchmarks: dict[tuple[str, str, str], list[TrendSeries]] = {}
    for each in trends.series:
        benchmarks.setdefault((each.provider_id, each.benchmark_id, each.metric), []).append(each)
    for (provider, benchmark, metric), group in benchmarks.items():
        series = [
            Series(each.model_name or "(unnamed)", [_point(p, prefix) for p in each.points]) for each in group
        ]
        thresholds = [p.threshold for each in group for p in each.points if p.threshold is not None]
        charts.append(
            _chart(
                f"{provider}/{benchmark}: {metric}",
                series,
                thresholds,
                by_run=by_run,
                lower=any(each.lower_is_better for each in group),
                changes=[changes[_key(each)] for each in group if _key(each) in changes],
            )
        )
    return charts


def _chart(
    title: str,
    series: Sequence[Series],
    thresholds: Sequence[float],
    *,
    by_run: bool,
    lower: bool = False,
    changes: Sequence[Change] = (),
) -> Chart:
    return Chart(
        title=title,
        lower_is_better=lower,
        svg=trend(series, title=title, threshold=thresholds[-1] if thresholds else None, by_run=by_run),
        changes=changes,
        rows=[(each.name, point) for each in series for point in reversed(each.points)],
        alone=all(len(each.points) < 2 for each in series),
    )


def _point(point: TrendPoint, prefix: str) -> Point:
    changed = "; ".join(
        f"{each.name} {each.baseline or 'absent'} → {each.candidate or 'absent'}" for each in point.changed
    )
    return Point(
        at=point.created_at,
        value=point.value,
        low=point.low,
        high=point.high,
        href=f"{prefix}/ui/jobs/{point.job_id}/b/{point.benchmark_index}",
        changed=changed,
    )


def _table(trends: Trends) -> Table:
    columns = (
        "provider",
        "benchmark",
        "metric",
        "model",
        "job",
        "created_at",
        "value",
        "low",
        "high",
        "n",
        "threshold",
    )
    return Table(
        columns=columns,
        rows=[
            (
                each.provider_id, each.benchmark_id, each.metric, each.model_name, point.job_id,
                point.created_at.isoformat(), point.value, point.low, point.high, point.n, point.threshold,
            )
            for each in trends.series
            for point in each.points
        ],
    )  # fmt: skip
