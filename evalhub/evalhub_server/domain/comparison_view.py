"""Answers of comparisons: what was compared, beside the results of the statistics.

Members without a value are left out of the JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec import Struct

from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.changes import Change
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.inputs import CompareOptions
from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Leaderboard,
    SuiteComparison,
    SuiteScore,
)
from evalhub_server.models.common import Link, State
from evalhub_server.models.configuration import ConfigurationDifference
from evalhub_server.models.sample import Facet, Sample


class ComparedJob(Struct, kw_only=True, frozen=True):
    """A job that is compared. ``sources`` has the ids of the jobs whose results count, reruns included."""

    job_id: str
    name: str
    model_name: str
    baseline: str | None = None
    """The name of the baseline by which the request referred to the job."""
    state: State
    created_at: datetime
    sources: tuple[str, ...]


class CandidateComparison(Struct, kw_only=True, frozen=True):
    """A candidate with its comparison. ``configuration`` has the settings in which its benchmarks differ from the baseline's."""

    job: ComparedJob
    comparison: SuiteComparison
    configuration: tuple[ConfigurationDifference, ...] = ()


class JobComparison(Struct, kw_only=True, frozen=True):
    """The comparison of candidates with a baseline. ``metric`` is absent if each benchmark's primary metric is compared."""

    baseline: ComparedJob
    candidates: tuple[CandidateComparison, ...]
    options: CompareOptions
    metric: str | None = None


class ComparedRun(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The run of a benchmark whose samples are compared: the benchmark at ``benchmark_index`` of the job ``source``.

    ``source`` is the job ``job_id`` itself, or one of its reruns. ``no_samples`` is the reason if the run has no samples.
    ``counts`` has the number of samples by change, in comparison with the baseline; absent for the baseline.
    """

    job_id: str
    source: str
    benchmark_index: int
    model_name: str
    no_samples: str = ""
    counts: dict[str, int] = {}


class RunSample(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A sample in one run. ``sample`` is its first epoch, of ``epochs``, of which ``passed`` passed. ``score`` is absent without one."""

    epochs: int
    passed: int
    score: float | None = None
    sample: Sample


class ChangedSample(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A sample in all runs; absent, or null in lists, where a run does not have it.

    ``changes`` and ``differences`` (positive is better) are those of the candidates. ``other_content``: its input or target
    differs between the runs.
    """

    sample_id: str
    other_content: bool = False
    changes: tuple[Change | None, ...]
    differences: tuple[float, ...]
    baseline: RunSample | None = None
    candidates: tuple[RunSample | None, ...]


class ChangedSamples(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One page of the samples of a benchmark in several runs. ``first`` is the page's own URL; the last page has no ``next``.

    ``benchmark`` is the benchmark's name in comparisons. Candidates without samples have no place in the lists of ``items``.
    ``other_content`` is the number of samples whose input or target differs between the runs, whatever the filters.
    ``facets`` are the requested ones.
    """

    first: Link
    next: Link | None = None
    limit: int
    total_count: int
    benchmark: str
    metric: str
    baseline: ComparedRun
    candidates: tuple[ComparedRun, ...]
    other_content: int
    items: Sequence[ChangedSample]
    facets: tuple[Facet, ...] = ()


class CandidateGroups(Struct, kw_only=True, frozen=True):
    """The comparison of each group of a candidate's samples with the baseline's, named as the group; empty for samples without one."""

    job_id: str
    groups: tuple[BenchmarkComparison, ...]


class GroupComparison(Struct, kw_only=True, frozen=True):
    """The differences of a benchmark by group of samples, or by a key of their metadata (``by``).

    P values and intervals are adjusted by Holm's method over the groups of a candidate.
    """

    benchmark: str
    by: str | None = None
    candidates: tuple[CandidateGroups, ...]


class JobScores(Struct, kw_only=True, frozen=True):
    """The scores of one job with their intervals, by benchmark. ``missing`` has the benchmarks without a result.

    ``overall`` is the weighted mean of the primary scores, if all benchmarks that count in the job's test have an interval.
    """

    job: ComparedJob
    scores: tuple[ScoredBenchmark, ...]
    missing: tuple[str, ...]
    alpha: float
    metric: str | None = None
    overall: SuiteScore | None = None


class ModelResult(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a model has of a benchmark: the state, and the reported primary score, of the benchmark at ``benchmark_index`` of a job.

    ``runs``: the score is the mean over so many runs. ``configuration`` has the settings in which the run differs from that of the
    model ``differs_from``, the ``baseline`` of the differences, whose settings most models have.
    """

    job_id: str
    benchmark_index: int
    state: State
    score: float | None = None
    lower_is_better: bool = False
    runs: int = 1
    differs_from: str = ""
    configuration: tuple[ConfigurationDifference, ...] = ()


class LeaderboardEntry(Struct, kw_only=True, frozen=True):
    """A model of a leaderboard, and the job that it is ranked by.

    ``score`` is that of the job, and ``results`` are its results by benchmark: both as reported, whereas rankings have the scores on
    the samples that all models have in common. With a choice of benchmarks, ``score`` is the weighted mean of their reported scores.

    ``complete_runs`` is the number of runs with results of all benchmarks. The model is ranked by the mean of ``averaged`` of them, or
    by the best of ``chosen_of``; ``other_settings`` runs are not in the mean because their settings differ from the newest one's.
    """

    model: str
    job: ComparedJob
    score: float | None = None
    results: dict[str, ModelResult] = {}
    complete_runs: int = 1
    averaged: int = 1
    chosen_of: int = 1
    other_settings: int = 0


class LeftOutModel(Struct, kw_only=True, frozen=True):
    """A model that is not ranked, with the reason, and the results of its newest job by benchmark."""

    model: str
    reason: str
    results: dict[str, ModelResult] = {}


class JobLeaderboard(Struct, kw_only=True, frozen=True):
    """A leaderboard of jobs. ``collection_id`` is absent if the request names the jobs.

    ``runs`` is how the run of a model is chosen: ``latest``, ``mean`` or ``best``. ``all_benchmarks`` is the number of benchmarks of the
    collection, or of the first job, of which ``leaderboard`` may have a choice. ``incomplete`` is the number of models without a run of
    these benchmarks, also where ``left_out`` does not list them.
    """

    collection_id: str | None = None
    runs: str = "latest"
    all_benchmarks: int = 0
    incomplete: int = 0
    entries: tuple[LeaderboardEntry, ...]
    left_out: tuple[LeftOutModel, ...]
    leaderboard: Leaderboard
    metric: str | None = None


def model_results(view: LineageView, names: Iterable[str]) -> dict[str, ModelResult]:
    """The results of benchmarks by name, without those that were not run."""
    return {
        name: ModelResult(
            job_id=source.job.id,
            benchmark_index=source.index,
            state=source.record.state,
            score=reported_score(source),
            lower_is_better=source.planned.primary_score is not None
            and source.planned.primary_score.lower_is_better,
        )
        for name in names
        if (source := view.get(name)) is not None
    }


def reported_score(source: Source) -> float | None:
    """The primary score of a benchmark as its adapter reported it."""
    primary, result = source.planned.primary_score, source.record.result
    return finite_number(result.metrics.get(primary.metric)) if primary and result else None


def compared_job(job: JobRecord, view: LineageView, baseline: str = "") -> ComparedJob:
    return ComparedJob(
        job_id=job.id,
        name=job.request.name,
        model_name=job.model_name,
        baseline=baseline or None,
        state=job.state,
        created_at=job.created_at,
        sources=tuple(dict.fromkeys(source.job.id for source in view.values() if source.completed)),
    )
