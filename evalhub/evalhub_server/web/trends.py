"""Series of scores over time: ``/api/v1/evaluations/trends``."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Router, route
from litestar.di import NamedDependency
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.trends import collection_series, trend_series
from evalhub_server.engine.comparisons import Question
from evalhub_server.models.trend import TrendPoint, Trends, TrendSeries
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.web.job_filters import JOB_FILTERS, job_query
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import LIST
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.openapi.parameters import boolean
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services

MAX_METRIC = 200

TREND_PARAMETERS = (
    *JOB_FILTERS,
    Parameter(
        name="metric",
        description="The metric of the series; by default the primary one of each benchmark.",
        schema={"type": "string", "maxLength": MAX_METRIC},
    ),
    boolean(
        "sample_intervals",
        "Results without a standard error get their interval from their samples; of at most 200,000 samples, the newest results first.",
        default=False,
    ),
)
MAX_SAMPLES = 200_000
"""Samples that one request reads for intervals, those of the newest results first."""

TREND_NAMES = names(TREND_PARAMETERS)

LIST_TRENDS = Operation(
    query=TREND_PARAMETERS,
    success=Success(description="The series.", type=Trends, example=examples.trends),
    errors=LIST,
)


@route("/", http_method=READ_METHODS, operation=LIST_TRENDS)
async def list_trends(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Get the scores of benchmarks and collections over time.

    There is one series for each provider, benchmark, metric and model, with the results of completed benchmarks, oldest
    first. `collections` has the jobs' own scores, in one series for each collection and model, unless `metric`, `provider_id` or
    `benchmark_id` select results within the jobs. The filters are those of the list of jobs; `benchmark_id` and `provider_id` also select benchmarks within the jobs. The
    newest `limit` jobs that match are read, after `offset` newer ones.
    """
    query = Query(request.scope)
    limit, offset = query.page()
    query.allow_only(TREND_NAMES)
    metric = metric_of(query)
    jobs = job_query(query, limit, offset, request.identity)
    sampled = query.boolean("sample_intervals", default=False)
    trends, _ = await trends_of(services, jobs, metric, sample_intervals=sampled)
    return json_response(encode(trends))


def metric_of(query: Query) -> str:
    """The metric of the series; empty for the primary ones. Raises :class:`ApiError`."""
    metric = query.text("metric")
    if len(metric) > MAX_METRIC:
        kind = f"metric of at most {MAX_METRIC} characters"
        raise problems.query_parameter_invalid("metric", kind, f"{metric[:MAX_METRIC]}…")
    return metric


async def trends_of(
    services: Services, jobs: JobQuery, metric: str = "", *, sample_intervals: bool = False
) -> tuple[Trends, list[JobRecord]]:
    """The series of the newest jobs that a query selects, and these jobs."""
    page = await services.jobs.list(replace(jobs, sort="created_at", descending=True))
    series = trend_series(
        page.items,
        metric=metric,
        provider_ids=_values(jobs.labels.get("provider_id")),
        benchmark_ids=_values(jobs.labels.get("benchmark_id")),
    )
    whole = not metric and not jobs.labels.keys() & {"provider_id", "benchmark_id"}
    trends = Trends(
        series=series,
        collections=collection_series(page.items) if whole else (),
        jobs=len(page.items),
        total_count=page.total_count,
    )
    if sample_intervals:
        trends = replace(trends, series=await _with_sample_intervals(services, series, page.items))
    return trends, list(page.items)


async def _with_sample_intervals(
    services: Services, series: Sequence[TrendSeries], jobs: Sequence[JobRecord]
) -> tuple[TrendSeries, ...]:
    """The series with the intervals of results that have samples and no standard error, as far as the limit allows."""
    known = {job.id: job for job in jobs}
    wanted = [(each, point) for each in series for point in each.points if point.low is None]
    wanted.sort(key=lambda pair: pair[1].created_at, reverse=True)
    found: dict[tuple[str, int, str], TrendPoint] = {}
    left = MAX_SAMPLES
    for each, point in wanted:
        source = Source(known[point.job_id], point.benchmark_index)
        samples = current_set(source.record)
        if samples is None or not samples.readable or samples.count > left:
            continue
        left -= samples.count
        (scored,) = await services.comparisons.scores(
            {each.benchmark_id: source}, Question(metric=each.metric)
        )
        if (interval := scored.summary.interval) is not None:
            key = point.job_id, point.benchmark_index, each.metric
            found[key] = replace(point, low=interval.low, high=interval.high)
    return tuple(
        replace(
            each,
            points=tuple(found.get((p.job_id, p.benchmark_index, each.metric), p) for p in each.points),
        )
        for each in series
    )


def _values(terms: Terms | None) -> frozenset[str] | None:
    return frozenset(terms.values) if terms is not None else None


trend_router = Router("/api/v1/evaluations/trends", route_handlers=[list_trends])
