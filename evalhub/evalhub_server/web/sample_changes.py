"""The samples of a benchmark in several jobs: how they changed, which ones a filter selects, and their texts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.changed_rows import SORTS, select_rows, sorted_rows
from evalhub_server.domain.comparison_inputs import run_of, sample_metric_of
from evalhub_server.domain.comparison_view import ChangedSample, ChangedSamples, ComparedRun, RunSample
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import METADATA
from evalhub_server.domain.sample_repeats import repeats_of
from evalhub_server.domain.statistics.changes import CHANGES, Change, ItemChanges
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Link
from evalhub_server.models.sample import Facet
from evalhub_server.web.comparison_query import NamedJob
from evalhub_server.web.query import Query
from evalhub_server.web.sample_query import metadata_filters, searched_text
from evalhub_server.web.services import Services

OTHER_CONTENT = "other_content"
GROUP = "group"
METADATA_FACET = "metadata"
FACETS = (GROUP, METADATA_FACET)
"""``metadata`` is a facet for each key with few values, named ``metadata.<key>``."""


class RowConditions(Struct, kw_only=True, frozen=True):
    """Which rows, in which order. What is empty is no condition. ``metadata`` has texts such as ``topic:law``."""

    groups: Sequence[str] = ()
    metadata: Sequence[str] = ()
    text: str = ""
    sort: str = "change"


ALL_ROWS = RowConditions()


def row_conditions(query: Query) -> RowConditions:
    """The conditions of a query. Raises :class:`ApiError`."""
    return RowConditions(
        groups=query.texts("group"),
        metadata=query.texts("metadata"),
        text=searched_text(query),
        sort=query.choice("sort", SORTS, SORTS[0]),
    )


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

    async def select(
        self, wanted: Sequence[str], conditions: RowConditions = ALL_ROWS, facets: Collection[str] = ()
    ) -> tuple[list[int], tuple[Facet, ...]]:
        """The rows with one of the changes in any candidate that meet the conditions, and the requested facets.

        Raises :class:`ApiError` for a key of metadata that the samples do not have.
        """
        kinds = frozenset[Change](change for change in CHANGES if change in wanted)
        rows = self.changes.select(kinds, other_content=OTHER_CONTENT in wanted)
        if conditions.text:
            rows = await asyncio.to_thread(self._containing, rows, conditions.text)
        if conditions.groups or conditions.metadata or facets:
            labels, filters = await asyncio.to_thread(self._labels, conditions, facets)
            counted = [name for name in labels if (GROUP if name == GROUP else METADATA_FACET) in facets]
            rows, counts = select_rows(rows, labels, filters, counted)
        else:
            counts = ()
        return sorted_rows(rows, self.changes, conditions.sort), counts

    def _labels(
        self, conditions: RowConditions, facets: Collection[str]
    ) -> tuple[dict[str, list[str]], dict[str, Collection[str]]]:
        """The labels of all rows that conditions and facets need, and the wanted ones, by name of the facet. Blocks.

        Labels are those of the baseline's sample, or of the first candidate that has the sample.
        """
        labels: dict[str, list[str]] = {}
        wanted: dict[str, Collection[str]] = {}
        if conditions.groups or GROUP in facets:
            labels[GROUP] = self._by_row(self._files, lambda file: file.index.group())
        if conditions.groups:
            wanted[GROUP] = conditions.groups
        if conditions.metadata or METADATA_FACET in facets:
            files = (
                self._files if len(self.changes.ids) > len(set(self._files[0].index.ids)) else self._files[:1]
            )
            keys = {key: None for file in files for key in file.details.metadata}
            filters = metadata_filters(conditions.metadata, keys)
            for key in keys if METADATA_FACET in facets else filters:
                with_key = [file for file in files if key in file.details.metadata]
                labels[METADATA + key] = self._by_row(
                    with_key, lambda file, key=key: file.details.metadata[key].labels()
                )
            wanted |= {METADATA + key: values for key, values in filters.items()}
        return labels, wanted

    def _by_row(
        self, files: Sequence[SampleFile], column: Callable[[SampleFile], Sequence[str]]
    ) -> list[str]:
        """A label for each row; empty without one."""
        if files and files[0].index.ids == self.changes.ids:
            return list(column(files[0]))
        found: dict[str, str] = {}
        for file in reversed(files):
            found.update(zip(file.index.ids, column(file), strict=True))
        return [found.get(name, "") for name in self.changes.ids]

    def _containing(self, rows: list[int], text: str) -> list[int]:
        """Those of the rows whose sample contains the text in any of the runs. Blocks."""
        ids = self.changes.ids
        wanted = {ids[row] for row in rows}
        found: set[str] = set()
        for file in self._files:
            named = file.index.ids
            lines = [line for line, name in enumerate(named) if name in wanted]
            found.update(named[line] for line in file.search(text, lines))
        return [row for row in rows if ids[row] in found]

    @property
    def _files(self) -> list[SampleFile]:
        return [each.file for each in self._runs if each.file is not None]

    async def read(self, rows: Sequence[int]) -> list[ChangedSample]:
        """The samples of some rows. Their members ``sample`` are encoded."""
        return await asyncio.to_thread(self._read, rows)

    async def whole(self, sample_id: str, epoch: int) -> list[RunSample | None]:
        """One epoch of a sample in each run with samples, with its whole texts; None where a run does not have it.

        The members ``sample`` are encoded.
        """
        return await asyncio.to_thread(self._whole, sample_id, epoch)

    def epochs(self, sample_id: str) -> list[int]:
        """The epochs that any of the runs has of a sample."""
        return sorted(
            {
                file.index.epochs[row]
                for file in self._files
                for row in repeats_of(file.index, {sample_id})[sample_id].rows
            }
        )

    def page(
        self,
        first: Link,
        following: Link | None,
        limit: int,
        total: int,
        items: Sequence[ChangedSample],
        facets: tuple[Facet, ...] = (),
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
            facets=facets,
        )

    def _whole(self, sample_id: str, epoch: int) -> list[RunSample | None]:
        found: list[RunSample | None] = []
        for run in self._runs:
            file = cast("SampleFile", run.file)
            row = file.index.find(sample_id, epoch)
            if row is None:
                found.append(None)
                continue
            (line,) = file.lines([row])
            found.append(
                RunSample(
                    epochs=1,
                    passed=int(file.index.outcome(row) == "passed"),
                    score=_mean(file.index, run.column, [row]),
                    sample=cast("Any", msgspec.Raw(line)),
                )
            )
        return found

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
    name = job.model_name
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
