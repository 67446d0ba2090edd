"""A job as a row of the list of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from msgspec import Struct

from evalhub_server.domain.diagnosis import without_log_tail
from evalhub_server.domain.lineage_view import view_of_job
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.redaction import redacted_text
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.results import ScoreSummary
from evalhub_server.models.common import State
from evalhub_server.web.services import Services

FAILED = frozenset({State.FAILED, State.PARTIALLY_FAILED})


class JobRow(Struct, kw_only=True, frozen=True):
    """A job in the table. ``done`` is its share of completed work between 0 and 1; None if unknown.

    ``summary`` is the score of its only benchmark with interval and counts, if it is known without reading samples. Of a job with
    several benchmarks, ``passed_tests`` of ``tested`` passed. ``running_score`` is the preliminary score of its only benchmark. ``failed_index`` is its first failed benchmark.
    """

    id: str
    name: str
    state: str
    model: str
    what: str
    finished: int
    benchmarks: int
    done: float | None
    remaining_s: float | None
    score: float | None
    running_score: float | None
    summary: ScoreSummary | None
    lower_is_better: bool
    threshold: float | None
    passed: bool | None
    tested: int
    passed_tests: int
    created_at: datetime
    duration_s: float | None
    owner: str
    tags: Sequence[str]
    reason: str
    code: str
    failed_index: int


def job_row(job: JobRecord, services: Services) -> JobRow:
    """A job as a row."""
    request = job.request
    planned = job.plan.benchmarks
    single = planned[0] if len(planned) == 1 else None
    primary = single.primary_score if single else None
    test = job.progress.test
    tests = [b.result.test for b in job.benchmarks if b.result and b.result.test]
    summary = _known_summary(job, services) if single else None
    score = summary.value if summary else test.score if test else None
    own = tests[0] if single and tests else None
    failed = next((b for b in job.benchmarks if b.error), None) if job.state in FAILED else None
    return JobRow(
        id=job.id,
        name=request.name,
        state=job.state.value,
        model=job.model_name,
        what=what_runs(job),
        finished=sum(benchmark.state.terminal for benchmark in job.benchmarks),
        benchmarks=len(job.benchmarks),
        done=share_done(job.benchmarks),
        remaining_s=_remaining_s(job, services),
        score=own.primary_score if own and score is None else score,
        running_score=_running_score(job) if single else None,
        summary=summary,
        lower_is_better=primary.lower_is_better if primary else False,
        threshold=own.threshold if own else test.threshold if test else None,
        passed=own.passed if own else test.passed if test else None,
        tested=len(tests),
        passed_tests=sum(each.passed for each in tests),
        created_at=job.created_at,
        duration_s=job.duration_s,
        owner=job.owner,
        tags=request.tags,
        reason=_reason(failed.error.message) if failed and failed.error else "",
        code=failed.error.message_code if failed and failed.error else "",
        failed_index=failed.index if failed else 0,
    )


@lru_cache(256)
def _reason(message: str) -> str:
    """The message of an error as a list shows it; lists are read again and again."""
    return without_log_tail(redacted_text(message))


def what_runs(job: JobRecord) -> str:
    """The collection of a job, its only benchmark, or the number of its benchmarks."""
    if job.request.collection is not None:
        return job.request.collection.id
    planned = job.plan.benchmarks
    return planned[0].id if len(planned) == 1 else f"{len(planned)} benchmarks"


def _running_score(job: JobRecord) -> float | None:
    """The preliminary score of the only benchmark of a job while it runs."""
    benchmark, primary = job.benchmarks[0], job.plan.benchmarks[0].primary_score
    if benchmark.state is not State.RUNNING or primary is None:
        return None
    return finite_number(benchmark.running_metrics.get(primary.metric))


def _known_summary(job: JobRecord, services: Services) -> ScoreSummary | None:
    """The score of the only benchmark of a job; None without a result, or while it is being computed."""
    if job.benchmarks[0].result is None:
        return None
    known = services.comparisons.known.get(f"{job.id} {job.progress.updated_at}", view_of_job(job, (job,)))
    return known[0].summary if known else None


def _remaining_s(job: JobRecord, services: Services) -> float | None:
    """The remaining time of a job of which all benchmarks that have not ended have an estimate."""
    if job.state is not State.RUNNING:
        return None
    estimates = [
        services.jobs.rates.pace(job, b.index).remaining_s for b in job.benchmarks if not b.state.terminal
    ]
    known = [each for each in estimates if each is not None]
    return max(known, default=None) if len(known) == len(estimates) else None


def share_done(benchmarks: Sequence[BenchmarkRecord]) -> float | None:
    """The mean share over benchmarks; None if none has reported progress or ended."""
    shares = [1.0 if b.state.terminal else _share(b) for b in benchmarks]
    return sum(share or 0.0 for share in shares) / len(shares) if any(s is not None for s in shares) else None


def _share(benchmark: BenchmarkRecord) -> float | None:
    progress = benchmark.progress
    return min(progress.done / progress.total, 1.0) if progress and progress.total > 0 else None
