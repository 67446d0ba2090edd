"""Service for comparisons: reads the samples of jobs, and computes comparisons and leaderboards off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.comparison_inputs import (
    awaits_samples,
    check_metric,
    expected_items,
    items_of_index,
    run_of,
    sample_metric_of,
    suite_of,
)
from evalhub_server.domain.group_differences import group_differences
from evalhub_server.domain.group_scores import GroupScore, group_scores, scores_by
from evalhub_server.domain.lineage import in_lineage
from evalhub_server.domain.lineage_view import LineageView, Source, view_of_job, view_of_lineage
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.repeated_runs import model_runs
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.statistics.changes import ItemChanges, item_changes
from evalhub_server.domain.statistics.columns import prepare
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.inputs import CompareOptions, Run, WeightKind
from evalhub_server.domain.statistics.leaderboard import leaderboard
from evalhub_server.domain.statistics.results import BenchmarkComparison, Leaderboard, SuiteComparison
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.suite import compare_suites
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.known_scores import KnownScores
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.errors import ApiError

T = TypeVar("T")

WAIT_S = 10.0
"""How long a request waits for samples that are still being stored."""
MAX_CACHED_BYTES = 32 * 1024 * 1024


class Question(Struct, kw_only=True, frozen=True):
    """What is compared: a metric (empty: each benchmark's primary one), options, and the weights of the suite."""

    metric: str = ""
    options: CompareOptions = CompareOptions()
    weights: WeightKind = "declared"


class ComparisonService:
    """Compares jobs whose views the caller has read. ``wait_s`` bounds the wait for samples."""

    def __init__(self, jobs: JobService, files: SampleStore, wait_s: float = WAIT_S) -> None:
        self._jobs = jobs
        self._files = files
        self._wait_s = wait_s
        self._results: SizeCache[bytes, Any] = SizeCache(MAX_CACHED_BYTES)
        self._running: dict[bytes, asyncio.Task[Any]] = {}
        self._one_at_a_time = asyncio.Semaphore(1)
        self.known = KnownScores(self._known_scores, lambda view: self.scores(view, Question()))

    async def close(self) -> None:
        """Wait for computations that run; each takes seconds at most."""
        await self.known.close()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def view(self, job: JobRecord, identity: Identity) -> LineageView:
        """The benchmarks of a job with the results that count, those of its reruns included."""
        return view_of_job(job, await self._jobs.lineage(job, identity) if in_lineage(job) else (job,))

    async def newest_view(self, job: JobRecord, identity: Identity) -> LineageView:
        """The benchmarks of the lineage of a job, each with its newest result."""
        return view_of_lineage(await self._jobs.lineage(job, identity) if in_lineage(job) else (job,))

    async def settled(self, views: Sequence[LineageView], identity: Identity) -> list[LineageView]:
        """The views with samples that were still being stored, as far as they are after a bounded wait."""
        deadline = asyncio.get_running_loop().time() + self._wait_s
        waiting = {
            source.job.id
            for view in views
            for source in view.values()
            if source.completed and awaits_samples(source.record)
        }
        jobs = {job_id: await self._settled(job_id, deadline, identity) for job_id in sorted(waiting)}
        return [
            {name: Source(jobs.get(each.job.id, each.job), each.index) for name, each in view.items()}
            for view in views
        ]

    async def _settled(self, job_id: str, deadline: float, identity: Identity) -> JobRecord:
        feed = self._jobs.feed
        with feed.wait_for(job_id) as waiter:
            while True:
                waiter.wake.clear()
                job = await self._jobs.get(job_id, identity)
                left_s = deadline - asyncio.get_running_loop().time()
                pending = any(
                    Source(job, index).completed and awaits_samples(each)
                    for index, each in enumerate(job.benchmarks)
                )
                if not pending or left_s <= 0 or feed.closed:
                    return job
                await waiter.wait(left_s)

    async def compare(
        self, baseline: LineageView, candidate: LineageView, question: Question
    ) -> SuiteComparison:
        """Compare two jobs."""
        check_metric(question.metric, (baseline, candidate))
        suite = suite_of(baseline, candidate, lambda source: run_of(source, metric=question.metric))
        key = [
            question,
            *((each, _digests(each.name, baseline), _digests(each.name, candidate)) for each in suite),
        ]

        async def compute() -> SuiteComparison:
            indexes = await self._indexes((baseline, candidate))
            return await asyncio.to_thread(
                lambda: compare_suites(
                    suite_of(baseline, candidate, lambda source: _run(source, question.metric, indexes)),
                    question.options,
                    question.weights,
                )
            )

        return await self._once("comparison", key, compute)

    async def rank(
        self,
        models: Mapping[str, Sequence[LineageView]],
        weights: Mapping[str, float],
        question: Question,
        chosen_of: Mapping[str, int] | None = None,
    ) -> Leaderboard:
        """Rank models, each by the view of a job, or by the mean of several.

        ``weights`` has the benchmarks with their declared weights, ``chosen_of`` the number of runs of which the model's one was chosen for
        its score; 1 by default.
        """
        all_views = [view for views in models.values() for view in views]
        check_metric(question.metric, all_views)
        chosen_of = chosen_of or {}
        key = [
            question,
            dict(weights),
            dict(chosen_of),
            [
                (model, source.job.id, name, run_of(source, metric=question.metric), _digests(name, view))
                for model, views in models.items()
                for view in views
                for name, source in view.items()
            ],
        ]

        async def compute() -> Leaderboard:
            indexes = await self._indexes(all_views)

            def ranked() -> Leaderboard:
                runs = model_runs(models, chosen_of, lambda source: _run(source, question.metric, indexes))
                return leaderboard(runs, weights, question.options, question.weights)

            return await asyncio.to_thread(ranked)

        return await self._once("leaderboard", key, compute)

    async def scores(self, view: LineageView, question: Question) -> tuple[ScoredBenchmark, ...]:
        """The scores of the benchmarks that have a result."""
        check_metric(question.metric, (view,))

        async def compute() -> tuple[ScoredBenchmark, ...]:
            indexes = await self._indexes((view,))
            return await asyncio.to_thread(_scored, view, question, indexes)

        return await self._once("scores", _scores_key(view, question), compute)

    def _known_scores(self, view: LineageView) -> tuple[ScoredBenchmark, ...] | None:
        """The scores of primary metrics if no file has to be read: those of earlier requests, or of results without samples."""
        if not any(_digests(name, view) for name in view):
            return _scored(view, Question(), {})
        return self._results.get(_digest("scores", _scores_key(view, Question())))

    async def changes(
        self, baseline: Source, candidates: Sequence[Source], question: Question
    ) -> ItemChanges | None:
        """How each sample of a benchmark changed between the baseline and the candidates, all of which have samples.

        None if a run has no scores of the metric in its samples.
        """
        sources = (baseline, *candidates)
        views = [{"": source} for source in sources]
        check_metric(question.metric, views)
        key = [_scores_key(view, question) for view in views]

        async def compute() -> tuple[ItemChanges] | tuple[()]:
            indexes = await self._indexes(views)

            def compared() -> tuple[ItemChanges] | tuple[()]:
                runs = [_run(source, question.metric, indexes) for source in sources]
                sides = [
                    prepare(run, question.options)
                    for run in runs
                    if run is not None and run.items is not None
                ]
                return (item_changes(sides[0], sides[1:]),) if len(sides) == len(sources) else ()

            return await asyncio.to_thread(compared)

        found = await self._once("changes", key, compute)
        return found[0] if found else None

    async def group_differences(
        self, baseline: Source, candidate: Source, question: Question, by: str = ""
    ) -> tuple[BenchmarkComparison, ...]:
        """The comparison of two runs in each group, or for each value of a key of the baseline's metadata (``by``)."""
        views = ({"": baseline}, {"": candidate})
        check_metric(question.metric, views)
        key = [by, *(_scores_key(view, question) for view in views)]

        async def compute() -> tuple[BenchmarkComparison, ...]:
            indexes = await self._indexes(views)
            labels = dict(zip(*await self._metadata(baseline, by), strict=True)) if by else None
            return await asyncio.to_thread(
                lambda: group_differences(
                    _run(baseline, question.metric, indexes),
                    _run(candidate, question.metric, indexes),
                    question.options,
                    labels,
                )
            )

        return await self._once("group-differences", key, compute)

    async def group_scores(self, source: Source, key: str = "") -> tuple[GroupScore, ...]:
        """The score of a benchmark in each group of its samples, or for each value of a key of their metadata.

        See :func:`.group_scores` and :func:`.scores_by`; empty for a key without a column.
        """
        view = {"": source}
        question = [key, run_of(source), _digests("", view)]

        async def compute() -> tuple[GroupScore, ...]:
            run = _run(source, "", await self._indexes((view,)))
            if run is None or run.items is None:
                return ()
            if not key:
                return await asyncio.to_thread(group_scores, run)
            _, labels = await self._metadata(source, key)
            return await asyncio.to_thread(scores_by, run, labels) if labels else ()

        return await self._once("group-scores", question, compute)

    async def _metadata(self, source: Source, key: str) -> tuple[Sequence[str], Sequence[str]]:
        """(ids of samples, values of a key of their metadata); empty for a key without a column."""
        samples = await self._files.open_samples(source.job, source.index)
        column = (await asyncio.to_thread(lambda: samples.details)).metadata.get(key)
        return ((), ()) if column is None else (samples.index.ids, column.labels())

    async def _indexes(self, views: Iterable[LineageView]) -> dict[tuple[str, int], SampleIndex]:
        found: dict[tuple[str, int], SampleIndex] = {}
        for view in views:
            for source in view.values():
                samples = current_set(source.record)
                key = source.job.id, source.index
                if not source.completed or samples is None or not samples.readable or key in found:
                    continue
                try:
                    found[key] = (await self._files.open_samples(source.job, source.index)).index
                except ApiError as error:
                    if error.status >= 500:
                        raise
        return found

    async def _once(self, kind: str, key: object, compute: Callable[[], Any]) -> Any:
        """The result of ``compute`` for a key; equal requests at the same time share one computation."""
        digest = _digest(kind, key)
        result = self._results.get(digest)
        if result is not None:
            return result
        task = self._running.get(digest)
        if task is None:
            task = asyncio.create_task(self._computed(digest, compute), name=f"{kind}-{digest.hex()[:8]}")
            self._running[digest] = task
            task.add_done_callback(lambda _: self._running.pop(digest, None))
        # A client that disconnects does not end the computation of others.
        return await asyncio.shield(task)

    async def _computed(self, digest: bytes, compute: Callable[[], Any]) -> Any:
        async with self._one_at_a_time:
            result = await compute()
        self._results.put(digest, result, len(msgspec.json.encode(result)))
        return result


def _digest(kind: str, key: object) -> bytes:
    return blake2b(msgspec.json.encode((kind, key)), digest_size=16).digest()


def _scores_key(view: LineageView, question: Question) -> object:
    runs = [(name, run_of(each, metric=question.metric), _digests(name, view)) for name, each in view.items()]
    return [question, runs]


def _scored(
    view: LineageView, question: Question, indexes: Mapping[tuple[str, int], SampleIndex]
) -> tuple[ScoredBenchmark, ...]:
    runs = {name: _run(source, question.metric, indexes) for name, source in view.items()}
    return tuple(
        ScoredBenchmark(
            name=name,
            provider_id=run.header.provider_id,
            benchmark_id=run.header.benchmark_id,
            metric=run.rules.metric,
            lower_is_better=run.rules.lower_is_better,
            summary=score_run(run, question.options),
        )
        for name, run in runs.items()
        if run is not None
    )


def _digests(name: str, view: LineageView) -> str:
    """What identifies the samples of a benchmark."""
    samples = current_set(view[name].record) if name in view else None
    return f"{samples.digest}:{samples.bad_lines}" if samples is not None and samples.readable else ""


def _run(source: Source, metric: str, indexes: Mapping[tuple[str, int], SampleIndex]) -> Run | None:
    """The run of a benchmark with its samples."""
    run = run_of(source, metric=metric)
    index = indexes.get((source.job.id, source.index))
    samples = current_set(source.record)
    if run is None or index is None or samples is None:
        return run
    items = items_of_index(index, sample_metric_of(source.planned, run.rules.metric))
    if items is None:
        return run
    header = replace(run.header, n_expected=expected_items(samples, index))
    return replace(run, header=header, items=items)
