"""The page of scores over time: ``/ui/trend``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.lineage_view import benchmark_names
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.statistics.results import BenchmarkComparison, SuiteComparison
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.identity import Identity
from evalhub_server.models.trend import CollectionPoint, CollectionSeries, TrendPoint, Trends, TrendSeries
from evalhub_server.plugins.storage import JobFacetName, JobQuery, Terms
from evalhub_server.viewer.charts import Point, Series, trend
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
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
AnyPoint = TrendPoint | CollectionPoint
PARAMETERS = (*LABELS, "metric", "since", "x", "jobs")
JOBS = ("40", "100", "200", "500")
"""Numbers of jobs that can be shown; the default is a page of 15 KB."""
MAX_CHARTS = 12
MAX_CHOICES = 30
MAX_NAMES = 3
MAX_VERDICTS = 6
"""Pairs of jobs whose last change gets a verdict; each is a comparison."""


class Change(Struct, kw_only=True, frozen=True):
    """The last change of a series: what the comparison of its last two runs says, and where it is shown."""

    model: str
    comparison: BenchmarkComparison | SuiteComparison
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
    alike: bool
    """A series has two points in a row with the same settings."""


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
    charts = _charts(trends, found, changes, url_prefix(request.scope), by_run=by_run)
    values = {
        "charts": charts[:MAX_CHARTS],
        "more": len(charts) - MAX_CHARTS,
        "trends": trends,
        "filters": query.chips((*LABELS, "metric", "since")),
        "kept": [(name, text) for name in PARAMETERS if name != "since" for text in query.texts(name)],
        "run": _run(query, url_prefix(request.scope)),
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


def _run(query: PageQuery, prefix: str) -> str:
    """The address of the form that runs what the page shows again; empty without a single choice."""
    names = ("collection", "provider", "benchmark", "model")
    values = {name: query.texts(name) for name in names if query.texts(name)}
    if not ({"collection"} <= values.keys() or {"provider", "benchmark"} <= values.keys()):
        return ""
    if any(len(texts) > 1 or "|" in texts[0] or "," in texts[0] for texts in values.values()):
        return ""
    return with_query(f"{prefix}/ui/run", values)


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


Key = tuple[str, str, str, str]
"""Provider, benchmark, metric and model of a series; of a collection, its id as the provider, and nothing as benchmark and metric."""


def _key(series: TrendSeries | CollectionSeries) -> Key:
    if isinstance(series, CollectionSeries):
        return series.collection_id, "", "", series.model_name
    return series.provider_id, series.benchmark_id, series.metric, series.model_name


async def _changes(
    services: Services, identity: Identity, trends: Trends, jobs: Sequence[JobRecord], prefix: str
) -> Mapping[Key, Change]:
    """The comparisons of the last two runs of series, for the first few pairs of jobs."""
    known = {job.id: job for job in jobs}
    compared: dict[tuple[str, str, str], SuiteComparison] = {}
    found: dict[Key, Change] = {}
    for series in (*trends.collections, *trends.series):
        if len(series.points) < 2:
            continue
        before, last = series.points[-2:]
        metric = _asked_metric(known, series)
        pair = before.job_id, last.job_id, metric
        if before.job_id == last.job_id or (pair not in compared and len(compared) == MAX_VERDICTS):
            continue
        if pair not in compared:
            views = [await services.comparisons.view(known[each], identity) for each in pair[:2]]
            compared[pair] = await services.comparisons.compare(views[0], views[1], Question(metric=metric))
        suite = compared[pair]
        name = _name(known, last)
        comparison = next((each for each in suite.benchmarks if each.name == name), None) if name else suite
        if comparison is not None:
            href = _compared(prefix, before, last, name)
            found[_key(series)] = Change(model=series.model_name, comparison=comparison, href=href)
    return found


def _asked_metric(known: Mapping[str, JobRecord], series: TrendSeries | CollectionSeries) -> str:
    """The metric of the comparison of a series; empty for primary ones, so that it is one for all benchmarks of two jobs."""
    if isinstance(series, CollectionSeries):
        return ""
    last = series.points[-1]
    primary = known[last.job_id].plan.benchmarks[last.benchmark_index].primary_score
    return "" if primary is not None and primary.metric == series.metric else series.metric


def _name(known: Mapping[str, JobRecord], point: TrendPoint | CollectionPoint) -> str:
    """The name of a point's benchmark in comparisons; empty for the score of a job."""
    if isinstance(point, CollectionPoint):
        return ""
    return benchmark_names(known[point.job_id].plan.benchmarks)[point.benchmark_index]


def _compared(prefix: str, before: AnyPoint, point: AnyPoint, name: str) -> str:
    """The address of the comparison of two points; empty for points of one job."""
    if before.job_id == point.job_id:
        return ""
    values = {"base": [before.job_id], "with": [point.job_id], "benchmark": [name] if name else []}
    return with_query(f"{prefix}/ui/compare", values)


def _charts(
    trends: Trends, jobs: Sequence[JobRecord], changes: Mapping[Key, Change], prefix: str, *, by_run: bool
) -> list[Chart]:
    known = {job.id: job for job in jobs}
    groups: dict[str, list[TrendSeries | CollectionSeries]] = {}
    for each in trends.collections:
        groups.setdefault(f"{each.collection_id}: overall", []).append(each)
    for each in trends.series:
        groups.setdefault(f"{each.provider_id}/{each.benchmark_id}: {each.metric}", []).append(each)
    return [
        _chart(
            title,
            [Series(each.model_name or "(unnamed)", _points(each.points, known, prefix)) for each in group],
            [point.threshold for each in group for point in each.points if point.threshold is not None],
            by_run=by_run,
            lower=any(isinstance(each, TrendSeries) and each.lower_is_better for each in group),
            changes=[changes[_key(each)] for each in group if _key(each) in changes],
        )
        for title, group in groups.items()
    ]


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
        changes=_merged(changes),
        rows=[(each.name, point) for each in series for point in reversed(each.points)],
        alone=all(len(each.points) < 2 for each in series),
        alike=any(not point.changed for each in series for point in each.points[1:]),
    )


def _merged(changes: Sequence[Change]) -> list[Change]:
    """The changes, with those that cannot be compared for the same reason as one, without an address."""
    found: dict[tuple[str, str], list[Change]] = {}
    for each in changes:
        own = "" if each.comparison.difference is None else each.model
        found.setdefault((each.comparison.wording, own), []).append(each)
    return [
        alike[0]
        if len(alike) == 1
        else replace(alike[0], model=", ".join(each.model for each in alike), href="")
        for alike in found.values()
    ]


def _points(points: Sequence[AnyPoint], known: Mapping[str, JobRecord], prefix: str) -> list[Point]:
    """The points of a series, each with its comparison with the one before."""
    shown: list[Point] = []
    for before, point in zip((None, *points), points, strict=False):
        changed = "; ".join(
            f"{each.name}{f' of {_few(each.benchmarks)}' if each.benchmarks else ''} {each.baseline or 'absent'} → "
            f"{each.candidate or 'absent'}"
            for each in point.changed
        )
        is_whole = isinstance(point, CollectionPoint)
        shown.append(
            Point(
                at=point.created_at,
                value=point.value,
                low=None if is_whole else point.low,
                high=None if is_whole else point.high,
                href=f"{prefix}/ui/jobs/{point.job_id}" + ("" if is_whole else f"/b/{point.benchmark_index}"),
                changed=changed,
                compare=_compared(prefix, before, point, _name(known, point)) if before is not None else "",
            )
        )
    return shown


def _few(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


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
