"""Estimates of the time and the tokens of benchmarks, from what they took in past jobs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.timeline import moment_of
from evalhub_server.models.common import State
from evalhub_server.models.estimate import BenchmarkEstimate, Estimates

Key = tuple[str, str]
"""Provider and benchmark."""


class _Run(NamedTuple):
    duration_s: float
    tokens: int | None
    limited: bool


def estimates(jobs: Sequence[JobRecord], benchmarks: Iterable[Key]) -> Estimates:
    """The medians of the completed runs of benchmarks in ``jobs``, and their sums."""
    runs: dict[Key, list[_Run]] = {}
    for job in jobs:
        if job.definition.derived_from and job.definition.reuses_samples:
            continue
        for record in job.benchmarks:
            planned = job.plan.benchmarks[record.index]
            if (seconds := _duration_s(record)) is not None:
                samples = current_set(record)
                run = _Run(
                    seconds, samples.tokens if samples else None, bool(planned.parameters.get("num_examples"))
                )
                runs.setdefault((planned.provider_id, planned.id), []).append(run)
    found = [_estimate(key, runs.get(key, ())) for key in benchmarks]
    durations = [each.duration_s for each in found if each.duration_s is not None]
    tokens = [each.tokens for each in found if each.tokens is not None]
    return Estimates(
        benchmarks=tuple(found),
        jobs=len(jobs),
        known=len(durations),
        duration_s=sum(durations) if durations else None,
        known_tokens=len(tokens),
        tokens=sum(tokens) if tokens else None,
    )


def _estimate(key: Key, runs: Sequence[_Run]) -> BenchmarkEstimate:
    provider_id, benchmark_id = key
    whole = [run for run in runs if not run.limited]
    counted = whole or runs
    if not counted:
        return BenchmarkEstimate(provider_id=provider_id, benchmark_id=benchmark_id)
    tokens = [run.tokens for run in counted if run.tokens is not None]
    return BenchmarkEstimate(
        provider_id=provider_id,
        benchmark_id=benchmark_id,
        runs=len(counted),
        duration_s=statistics.median(run.duration_s for run in counted),
        token_runs=len(tokens),
        tokens=round(statistics.median(tokens)) if tokens else None,
        limited=not whole,
    )


def _duration_s(record: BenchmarkRecord) -> float | None:
    """Seconds from the start to the end of a completed benchmark; None if they are unknown."""
    if record.state is not State.COMPLETED:
        return None
    start, end = moment_of(record.started_at), moment_of(record.completed_at)
    if start is None or end is None or end < start:
        return None
    return (end - start).total_seconds()
