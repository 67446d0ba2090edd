"""Answers of comparisons: what was compared, beside the results of the statistics.

Members without a value are left out of the JSON.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.inputs import CompareOptions
from evalhub_server.domain.statistics.results import Leaderboard, SuiteComparison
from evalhub_server.models.common import State


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
    """A candidate with its comparison."""

    job: ComparedJob
    comparison: SuiteComparison


class JobComparison(Struct, kw_only=True, frozen=True):
    """The comparison of candidates with a baseline. ``metric`` is absent if each benchmark's primary metric is compared."""

    baseline: ComparedJob
    candidates: tuple[CandidateComparison, ...]
    options: CompareOptions
    metric: str | None = None


class JobScores(Struct, kw_only=True, frozen=True):
    """The scores of one job with their intervals, by benchmark. ``missing`` has the benchmarks without a result."""

    job: ComparedJob
    scores: tuple[ScoredBenchmark, ...]
    missing: tuple[str, ...]
    alpha: float
    metric: str | None = None


class LeaderboardEntry(Struct, kw_only=True, frozen=True):
    """A model of a leaderboard, and the job that it is ranked by."""

    model: str
    job: ComparedJob


class LeftOutModel(Struct, kw_only=True, frozen=True):
    """A model that is not ranked, with the reason."""

    model: str
    reason: str


class JobLeaderboard(Struct, kw_only=True, frozen=True):
    """A leaderboard of jobs. ``collection_id`` is absent if the request names the jobs."""

    collection_id: str | None = None
    entries: tuple[LeaderboardEntry, ...]
    left_out: tuple[LeftOutModel, ...]
    leaderboard: Leaderboard
    metric: str | None = None


def compared_job(job: JobRecord, view: LineageView, baseline: str = "") -> ComparedJob:
    model = job.request.model
    return ComparedJob(
        job_id=job.id,
        name=job.request.name,
        model_name=model.name if model else "",
        baseline=baseline or None,
        state=job.state,
        created_at=job.created_at,
        sources=tuple(dict.fromkeys(source.job.id for source in view.values() if source.completed)),
    )
