"""Retention: which finished jobs, samples and logs are deleted. Pure decisions over facts about jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.record import BenchmarkRecord, JobRecord, with_changes
from evalhub_server.models.common import State

Deleted = Literal["job", "samples", "logs"]


class RetentionPolicy(Struct, kw_only=True, frozen=True):
    """What is kept; 0 is no limit. Ages count from the end of a job.

    A job is deleted if ``keep_for_s`` or ``keep_last`` is set and none of them keeps it. The other limits delete files only:
    records and metrics stay.
    """

    keep_for_s: float = 0.0
    keep_last: int = 0
    samples_for_s: float = 0.0
    logs_for_s: float = 0.0
    max_bytes: int = 0

    @property
    def deletes(self) -> bool:
        """Whether anything is ever deleted."""
        return self != RetentionPolicy()

    @property
    def needs_log_sizes(self) -> bool:
        return bool(self.logs_for_s or self.max_bytes)


class JobFacts(Struct, kw_only=True, frozen=True, gc=False):
    """What the decision needs to know of a job.

    ``exempt``: nothing of it may be deleted. ``keys`` has a (model, provider, benchmark) for each benchmark, and ``completed``
    those of benchmarks that completed.
    """

    id: str
    created_at: datetime
    ended_at: datetime
    exempt: bool
    keys: frozenset[tuple[str, str, str]]
    completed: frozenset[tuple[str, str, str]]
    derived_from: str = ""
    samples_bytes: int = 0
    logs_bytes: int = 0


class Deletion(Struct, kw_only=True, frozen=True):
    """Something to delete, its size in bytes, and the setting that requires it."""

    job_id: str
    what: Deleted
    bytes: int
    setting: str


def is_exempt(job: JobRecord, baselines: Collection[str]) -> bool:
    """Whether nothing of a job may be deleted: it is unfinished, has pending exports, is pinned or is a baseline."""
    return job.open or job.progress.pinned or job.id in baselines


def facts_of(job: JobRecord, logs_bytes: int, baselines: Collection[str]) -> JobFacts:
    keys = [(job.model_name, each.provider_id, each.id) for each in job.plan.benchmarks]
    completed = [
        key for key, each in zip(keys, job.benchmarks, strict=False) if each.state is State.COMPLETED
    ]
    return JobFacts(
        id=job.id,
        created_at=job.created_at,
        ended_at=job.progress.updated_at,
        exempt=is_exempt(job, baselines),
        keys=frozenset(keys),
        completed=frozenset(completed),
        derived_from=job.definition.derived_from,
        samples_bytes=sum(map(_stored_bytes, job.benchmarks)),
        logs_bytes=logs_bytes,
    )


def _stored_bytes(benchmark: BenchmarkRecord) -> int:
    samples = benchmark.samples
    if samples is None:
        return 0
    data = samples.bytes if samples.readable else 0
    return data + sum(artifact.bytes for artifact in samples.artifacts)


def decide(jobs: Iterable[JobFacts], policy: RetentionPolicy, now: datetime) -> list[Deletion]:
    """What to delete, the oldest first."""
    newest_first = sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)
    deleted = _deleted_jobs(newest_first, policy, now)
    found = [
        Deletion(job_id=job.id, what="job", bytes=job.samples_bytes + job.logs_bytes, setting=_rules(policy))
        for job in reversed(newest_first)
        if job.id in deleted
    ]
    kept = [job for job in reversed(newest_first) if job.id not in deleted]
    return found + list(_deleted_files(kept, policy, now))


def _rules(policy: RetentionPolicy) -> str:
    rules = ("keep_for", policy.keep_for_s), ("keep_last_per_model_and_benchmark", policy.keep_last)
    return " and ".join(f"retention.{name}" for name, value in rules if value)


def _deleted_jobs(newest_first: Sequence[JobFacts], policy: RetentionPolicy, now: datetime) -> set[str]:
    if not policy.keep_for_s and not policy.keep_last:
        return set()
    ended: Counter[tuple[str, str, str]] = Counter()
    completed: Counter[tuple[str, str, str]] = Counter()
    deleted: dict[str, JobFacts] = {}
    for job in newest_first:
        # Failures are counted apart, so that a series of them does not displace the last results.
        newest = any(ended[key] < policy.keep_last for key in job.keys)
        newest = newest or any(completed[key] < policy.keep_last for key in job.completed)
        ended.update(job.keys)
        completed.update(job.completed)
        young = bool(policy.keep_for_s) and not _older(job, policy.keep_for_s, now)
        if not (job.exempt or newest or young):
            deleted[job.id] = job
    # The results of a rerun belong together with those of the jobs that it repeats.
    kept = [job.derived_from for job in newest_first if job.id not in deleted]
    while kept:
        if (job := deleted.pop(kept.pop(), None)) is not None:
            kept.append(job.derived_from)
    return set(deleted)


def _deleted_files(
    oldest_first: Sequence[JobFacts], policy: RetentionPolicy, now: datetime
) -> Iterator[Deletion]:
    total = sum(job.samples_bytes + job.logs_bytes for job in oldest_first)
    left: list[Deletion] = []
    for job in oldest_first:
        if job.exempt:
            continue
        sizes: tuple[tuple[Deleted, int, float], ...] = (
            ("samples", job.samples_bytes, policy.samples_for_s),
            ("logs", job.logs_bytes, policy.logs_for_s),
        )
        for what, size, limit_s in sizes:
            if not size:
                continue
            if limit_s and _older(job, limit_s, now):
                total -= size
                yield Deletion(job_id=job.id, what=what, bytes=size, setting=f"retention.{what}_for")
            else:
                left.append(Deletion(job_id=job.id, what=what, bytes=size, setting="retention.max_bytes"))
    for deletion in left:
        if not policy.max_bytes or total <= policy.max_bytes:
            return
        total -= deletion.bytes
        yield deletion


def _older(job: JobFacts, limit_s: float, now: datetime) -> bool:
    return (now - job.ended_at).total_seconds() > limit_s


def without_samples(job: JobRecord, message: str) -> JobRecord:
    """The job after its samples and artifacts were deleted. What the record states about them stays, except their size."""
    return with_changes(job, benchmarks=tuple(_without_samples(each, message) for each in job.benchmarks))


def _without_samples(benchmark: BenchmarkRecord, message: str) -> BenchmarkRecord:
    samples = benchmark.samples
    if samples is None or not _stored_bytes(benchmark):
        return benchmark
    state = "none" if samples.readable else samples.state
    return replace(benchmark, samples=replace(samples, state=state, message=message, bytes=0, artifacts=()))
