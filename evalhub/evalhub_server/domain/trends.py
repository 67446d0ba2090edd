"""Series of scores over time, from the records of jobs."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from evalhub_server.domain.comparison_inputs import run_of
from evalhub_server.domain.configuration import MAX_CHARACTERS, source_differences, view_differences
from evalhub_server.domain.lineage_view import Source, view_of_job
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.models.common import Json, State
from evalhub_server.models.configuration import ConfigurationDifference
from evalhub_server.models.trend import CollectionPoint, CollectionSeries, TrendPoint, TrendSeries

Key = tuple[str, str, str, bool, str]
"""Provider, benchmark, metric, whether lower is better, and model."""


def trend_series(
    jobs: Iterable[JobRecord],
    *,
    metric: str = "",
    provider_ids: frozenset[str] | None = None,
    benchmark_ids: frozenset[str] | None = None,
) -> tuple[TrendSeries, ...]:
    """The series of completed benchmarks, sorted by provider, benchmark, metric and model; points are oldest first.

    ``metric`` is by default the primary one of each benchmark; a benchmark without it has no series. Of the benchmarks of a
    job only those with one of ``provider_ids`` and ``benchmark_ids`` count; None means all.
    """
    series: dict[Key, list[TrendPoint]] = {}
    newest: dict[Key, Source] = {}
    for job in sorted(jobs, key=lambda each: (each.created_at, each.id)):
        for benchmark in job.benchmarks:
            planned = job.plan.benchmarks[benchmark.index]
            if provider_ids is not None and planned.provider_id not in provider_ids:
                continue
            if benchmark_ids is not None and planned.id not in benchmark_ids:
                continue
            primary = planned.primary_score
            name = metric or (primary.metric if primary else "")
            source = Source(job, benchmark.index)
            if (point := _point(source, name)) is None:
                continue
            lower = primary is not None and primary.metric == name and primary.lower_is_better
            key = planned.provider_id, planned.id, name, lower, job.model_name
            if key in newest:
                point = replace(point, changed=source_differences(newest[key], source))
            newest[key] = source
            series.setdefault(key, []).append(point)
    return tuple(
        TrendSeries(
            provider_id=provider_id,
            benchmark_id=benchmark_id,
            metric=name,
            lower_is_better=lower,
            model_name=model_name,
            points=tuple(points),
        )
        for (provider_id, benchmark_id, name, lower, model_name), points in sorted(series.items())
    )


def collection_series(jobs: Iterable[JobRecord]) -> tuple[CollectionSeries, ...]:
    """The series of the scores of jobs that ran a collection, sorted by collection and model; points are oldest first."""
    series: dict[tuple[str, str], list[CollectionPoint]] = {}
    newest: dict[tuple[str, str], JobRecord] = {}
    for job in sorted(jobs, key=lambda each: (each.created_at, each.id)):
        collection, test = job.request.collection, job.progress.test
        if collection is None or test is None or (value := finite_number(test.score)) is None:
            continue
        key = collection.id, job.model_name
        point = CollectionPoint(
            job_id=job.id,
            created_at=job.created_at,
            value=value,
            threshold=finite_number(test.threshold),
            changed=_job_differences(newest[key], job) if key in newest else (),
        )
        newest[key] = job
        series.setdefault(key, []).append(point)
    return tuple(
        CollectionSeries(collection_id=collection_id, model_name=model_name, points=tuple(points))
        for (collection_id, model_name), points in sorted(series.items())
    )


def _job_differences(before: JobRecord, job: JobRecord) -> tuple[ConfigurationDifference, ...]:
    """What may explain a difference of the scores of two jobs: their benchmarks, weights, and settings."""
    one, two = (view_of_job(each, (each,)) for each in (before, job))
    found: list[ConfigurationDifference] = []
    if one.keys() != two.keys():
        texts = (", ".join(view) for view in (one, two))
        baseline, candidate = (
            text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…" for text in texts
        )
        found.append(ConfigurationDifference(name="benchmarks", baseline=baseline, candidate=candidate))
    for name in one.keys() & two.keys():
        weights = one[name].planned.weight, two[name].planned.weight
        if weights[0] != weights[1]:
            baseline, candidate = (f"{weight:g}" for weight in weights)
            found.append(
                ConfigurationDifference(
                    name="weights", baseline=baseline, candidate=candidate, benchmarks=(name,)
                )
            )
    return (*sorted(found, key=lambda each: (each.name, each.benchmarks)), *view_differences(one, two))


def _point(source: Source, metric: str) -> TrendPoint | None:
    job, planned, benchmark = source.job, source.planned, source.record
    if benchmark.state is not State.COMPLETED or benchmark.result is None or not metric:
        return None
    metrics = benchmark.result.metrics
    value = finite_number(metrics.get(metric))
    if value is None:
        return None
    stderr = finite_number(metrics.get(f"{metric}_stderr"))
    primary = planned.primary_score
    is_primary = primary is not None and primary.metric == metric
    if stderr is None and is_primary:
        stderr = finite_number(metrics.get("stderr"))
    run = run_of(source, metric=metric)
    interval = score_run(run).interval if run is not None else None
    test = benchmark.result.test
    return TrendPoint(
        job_id=job.id,
        benchmark_index=benchmark.index,
        created_at=job.created_at,
        value=value,
        stderr=stderr,
        n=_count(benchmark, metrics),
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        threshold=finite_number(test.threshold) if test is not None and is_primary else None,
    )


def _count(benchmark: BenchmarkRecord, metrics: Json) -> int | None:
    if benchmark.samples is not None and benchmark.samples.state == "stored":
        return benchmark.samples.count
    reported = finite_number(metrics.get("num_samples"))
    return int(reported) if reported is not None and reported >= 0 else None
