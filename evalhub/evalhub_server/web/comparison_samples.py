"""Samples of a benchmark in several jobs, by how they changed: ``/api/v1/evaluations/comparisons/samples``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from litestar import Router, route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.comparison_inputs import run_of, sample_metric_of
from evalhub_server.domain.comparison_view import ChangedSample, ChangedSamples, ComparedRun, RunSample
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.statistics.changes import CHANGES, Change, ItemChanges
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Link
from evalhub_server.web.comparison_query import (
    INVALID,
    OPTIONS,
    NamedJob,
    job_of,
    listed_of,
    question_of,
    required_of,
    views_of,
)
from evalhub_server.web.openapi import comparison_examples as examples
from evalhub_server.web.openapi.errors import ID, STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.openapi.parameters import LIMIT, OFFSET, choices
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services

MAX_RUNS = 8
OTHER_CONTENT = "other_content"

_SAMPLE_OPTIONS = tuple(
    each for each in OPTIONS if each.name in ("metric", "model_errors", "infrastructure_errors")
)
COMPARE_SAMPLES = Operation(
    query=(
        Parameter(
            name="baseline",
            description="The id of a job, or `name:NAME` of a baseline.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        Parameter(
            name="candidate",
            description=f"The same for the candidates, at most {MAX_RUNS - 1}, separated by commas.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        Parameter(
            name="benchmark",
            description="The benchmark's name in comparisons: `provider_id/id`, with `#2` where a job repeats one.",
            schema={"type": "string", "minLength": 1},
            allow_empty=False,
            required=True,
        ),
        choices(
            "change",
            "How the sample changed in a candidate, separated by commas: `broken` (worse than in the baseline), `fixed` (better), "
            "`both_failed`, `both_passed`, `unchanged` (scores other than right and wrong), `not_scored`, `only_baseline`, "
            "`only_candidate`, or `other_content` (input or target differs). By default all samples.",
            (*CHANGES, OTHER_CONTENT),
        ),
        LIMIT,
        OFFSET,
        *_SAMPLE_OPTIONS,
    ),
    success=Success(description="One page of samples.", type=ChangedSamples, example=examples.samples),
    errors=(
        *INVALID[2:],
        problems.query_parameter_required("benchmark"),
        problems.query_parameter_value_invalid("change", "|".join((*CHANGES, OTHER_CONTENT))),
        problems.query_parameter_invalid("limit", "integer", "ten"),
        problems.same_job(ID),
        not_found("evaluation job"),
        problems.not_found("baseline", "nightly"),
        problems.not_found("benchmark", "quickstart/arithmetic"),
        problems.samples_not_available(ID, 0, "none", ""),
        problems.baseline_job_missing("nightly", ID),
        STORE_UNAVAILABLE,
    ),
)


@route("/samples", http_method=READ_METHODS, operation=COMPARE_SAMPLES)
async def compare_samples(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """List the samples of a benchmark by how they changed.

    Each sample has its scores and its texts in the baseline and in each candidate. The changes are counted from the scores that
    comparisons compare, so the samples behind `fixed` and `broken` of a comparison are those with these changes. Samples come in
    the order of the changes, the largest difference first; long texts are shortened. Candidates without samples are left out, with
    the reason.
    """
    query = Query(request.scope)
    query.allow_only(names(COMPARE_SAMPLES.query))
    limit, offset = query.page()
    question = question_of(query)
    references = [required_of(query, "baseline"), *listed_of(query, "candidate", MAX_RUNS - 1)]
    benchmark = required_of(query, "benchmark")
    wanted = query.choices("change", (*CHANGES, OTHER_CONTENT))
    jobs = [await job_of(services, request.identity, reference) for reference in references]
    views = await views_of(services, request.identity, [job for job, _ in jobs])
    found = await changed_samples(services, jobs, views, benchmark, question)
    rows = found.select(wanted)
    first, following = query.links(limit, offset, len(rows))
    items = await found.read(rows[offset : offset + limit])
    return json_response(encode(found.page(first, following, limit, len(rows), items)))


class _Run(NamedTuple):
    """A run with its samples; ``reason`` is why it has none."""

    run: ComparedRun
    file: SampleFile | None
    column: str
    """The metric's name in samples."""


class SampleChanges:
    """The samples of a benchmark in several runs, of which the first is the baseline's."""

    def __init__(self, benchmark: str, metric: str, runs: Sequence[_Run], changes: ItemChanges) -> None:
        self.benchmark = benchmark
        self.metric = metric
        self.changes = changes
        self._runs = [each for each in runs if each.file is not None]
        counts = iter(range(len(changes.changes)))
        self.baseline = runs[0].run
        self.candidates = tuple(
            each.run
            if each.file is None
            else msgspec.structs.replace(each.run, counts=changes.counts(next(counts)))
            for each in runs[1:]
        )

    def select(self, wanted: Sequence[str]) -> list[int]:
        """The rows with one of the changes in any candidate, or all."""
        kinds = frozenset[Change](change for change in CHANGES if change in wanted)
        return self.changes.select(kinds, other_content=OTHER_CONTENT in wanted)

    async def read(self, rows: Sequence[int]) -> list[ChangedSample]:
        """The samples of some rows. Their members ``sample`` are encoded."""
        return await asyncio.to_thread(self._read, rows)

    def page(
        self, first: Link, following: Link | None, limit: int, total: int, items: Sequence[ChangedSample]
    ) -> ChangedSamples:
        return ChangedSamples(
            first=first,
            next=following,
            limit=limit,
            total_count=total,
            benchmark=self.benchmark,
            metric=self.metric,
            baseline=self.baseline,
            candidates=self.candidates,
            other_content=len(self.changes.other_content),
            items=items,
        )

    def _read(self, rows: Sequence[int]) -> list[ChangedSample]:
        ids = [self.changes.ids[row] for row in rows]
        columns = [_samples(each, ids) for each in self._runs]
        changed = frozenset(self.changes.other_content)
        candidates = range(len(self._runs) - 1)
        return [
            ChangedSample(
                sample_id=name,
                other_content=name in changed,
                changes=tuple(self.changes.of(candidate, row) for candidate in candidates),
                differences=tuple(self.changes.differences[candidate][row] for candidate in candidates),
                baseline=columns[0].get(name),
                candidates=tuple(column.get(name) for column in columns[1:]),
            )
            for row, name in zip(rows, ids, strict=True)
        ]


async def changed_samples(
    services: Services,
    jobs: Sequence[NamedJob],
    views: Sequence[LineageView],
    benchmark: str,
    question: Question,
) -> SampleChanges:
    """The samples of a benchmark in jobs, of which the first is the baseline.

    Raises:
        ApiError: 404 if no job has the benchmark, or if the baseline or all candidates have no samples of the metric.
    """
    ids = [job.id for job, _ in jobs]
    if ids[0] in ids[1:]:
        raise problems.same_job(ids[0])
    if not any(benchmark in view for view in views):
        raise problems.not_found("benchmark", benchmark)
    runs = [
        await _run(services, job, view.get(benchmark), question)
        for (job, _), view in zip(jobs, views, strict=True)
    ]
    baseline = runs[0]
    lacking = (
        baseline if baseline.file is None else runs[1] if not any(each.file for each in runs[1:]) else None
    )
    if lacking is not None:
        raise ApiError(404, "samples_not_available", lacking.run.no_samples)
    sources = [view[benchmark] for view, each in zip(views, runs, strict=True) if each.file is not None]
    metric = _metric(sources[0], question)
    changes = await services.comparisons.changes(sources[0], sources[1:], question)
    if changes is None:
        why = (
            f"no sample has the metric '{metric}'" if metric else "it has no primary metric; choose a metric"
        )
        raise problems.samples_not_available(baseline.run.source, baseline.run.benchmark_index, "none", why)
    return SampleChanges(benchmark, metric, runs, changes)


async def _run(services: Services, job: Any, source: Source | None, question: Question) -> _Run:
    model = job.request.model
    name = model.name if model else ""
    if source is None:
        reason = f"The job {job.id} has no such benchmark."
        return _Run(
            ComparedRun(job_id=job.id, source=job.id, benchmark_index=0, model_name=name, no_samples=reason),
            None,
            "",
        )
    run = ComparedRun(job_id=job.id, source=source.job.id, benchmark_index=source.index, model_name=name)
    if not source.completed:
        state = source.record.state.value
        return _Run(
            msgspec.structs.replace(run, no_samples=f"The benchmark has no result: it is {state}."), None, ""
        )
    try:
        file = await services.files.open_samples(source.job, source.index)
    except ApiError as error:
        if error.status >= 500:
            raise
        return _Run(msgspec.structs.replace(run, no_samples=error.message), None, "")
    column = sample_metric_of(source.planned, _metric(source, question))
    return _Run(run, file, column)


def _metric(source: Source, question: Question) -> str:
    run = run_of(source, metric=question.metric)
    return run.rules.metric if run is not None else question.metric


def _samples(run: _Run, ids: Sequence[str]) -> Mapping[str, RunSample]:
    file = cast("SampleFile", run.file)
    index = file.index
    wanted = set(ids)
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(index.ids):
        if name in wanted:
            rows.setdefault(name, []).append(row)
    first = [each[0] for each in rows.values()]
    lines = file.previews(first)
    return {
        name: RunSample(
            epochs=len(each),
            passed=sum(index.outcome(row) == "passed" for row in each),
            score=_mean(index, run.column, each),
            # The line is the model, encoded.
            sample=cast("Any", msgspec.Raw(line)),
        )
        for (name, each), line in zip(rows.items(), lines, strict=True)
    }


def _mean(index: SampleIndex, metric: str, rows: Sequence[int]) -> float | None:
    """The mean over epochs that have a value."""
    column = index.metrics.get(metric, index.latency_s)
    values = [column[row] for row in rows if not math.isnan(column[row])]
    return math.fsum(values) / len(values) if values else None


sample_comparison_router = Router("/api/v1/evaluations/comparisons", route_handlers=[compare_samples])
