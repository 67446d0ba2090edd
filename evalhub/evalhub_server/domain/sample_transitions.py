"""Transitions of a benchmark's sample set: expected after the exit of its workload, then stored, or not.

A function returns the same object if nothing changes.
"""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.job_changes import with_benchmark
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.domain.samples import current_set
from evalhub_server.domain.transitions import LAUNCH_FAILED
from evalhub_server.models.sample import Artifact, SampleSet


def nothing_left(attempt: int) -> SampleSet:
    """The sample set of an attempt whose adapter left no files."""
    return SampleSet(state="none", attempt=attempt, message="its adapter left none")


def samples_expected(job: JobRecord, index: int, *, left_files: bool = True) -> JobRecord:
    """Mark the samples of an ended workload as pending, unless they were uploaded; as none if it has left no files.

    Stored with the exit, so that a server that dies meanwhile collects them after its restart.
    """
    benchmark = job.benchmarks[index]
    if benchmark.exit is None or not _was_started(benchmark) or current_set(benchmark) is not None:
        return job
    attempt = benchmark.attempt
    return _with_samples(job, benchmark, SampleSet(attempt=attempt) if left_files else nothing_left(attempt))


def _was_started(benchmark: BenchmarkRecord) -> bool:
    if benchmark.launched_at is None:
        return False
    failed = benchmark.exit is not None and benchmark.exit.reason == LAUNCH_FAILED
    return not failed or benchmark.handle is not None


def reason_for_none(benchmark: BenchmarkRecord) -> str:
    """Why a benchmark has no sample set, as a clause."""
    if not benchmark.ended:
        return "its workload has not ended"
    return "its workload handed over none" if _was_started(benchmark) else "it was not started"


def is_collectable(benchmark: BenchmarkRecord) -> bool:
    """Whether the benchmark's workload has ended and its samples are still pending."""
    if benchmark.exit is None:
        return False
    samples = current_set(benchmark)
    return samples is not None and samples.state == "pending"


def samples_collected(job: JobRecord, index: int, samples: SampleSet) -> JobRecord:
    """Record what was stored of the samples of one attempt; they replace an earlier set, but keep its artifacts.

    Raises:
        ApiError: 409 ``attempt_superseded`` if the benchmark has a later attempt.
    """
    benchmark = job.benchmarks[index]
    check_attempt(job, index, samples.attempt)
    current = current_set(benchmark)
    if current is not None and not samples.artifacts:
        samples = replace(samples, artifacts=current.artifacts)
    if current is not None and _precedes(current, samples):
        samples = replace(current, artifacts=samples.artifacts)  # an upload came first
    return job if samples == benchmark.samples else _with_samples(job, benchmark, samples)


def _precedes(current: SampleSet, samples: SampleSet) -> bool:
    """Whether a set stays although a later one was reported: what is stored, and the reason why an upload failed."""
    if current.readable:
        return samples.state in ("none", "failed")
    return current.state == "failed" and samples.state == "none"


def artifact_stored(job: JobRecord, index: int, attempt: int, artifact: Artifact) -> JobRecord:
    """Add an artifact of one attempt, or replace the one with its name.

    Raises:
        ApiError: 409 ``attempt_superseded`` if the benchmark has a later attempt.
    """
    benchmark = job.benchmarks[index]
    check_attempt(job, index, attempt)
    current = current_set(benchmark) or SampleSet(
        attempt=attempt, state="none" if benchmark.exit else "pending"
    )
    others = [each for each in current.artifacts if each.name != artifact.name]
    artifacts = tuple(sorted([*others, artifact], key=lambda each: each.name))
    if artifacts == current.artifacts:
        return job
    return _with_samples(job, benchmark, replace(current, artifacts=artifacts))


def check_attempt(job: JobRecord, index: int, attempt: int) -> None:
    """Raise :class:`ApiError` (409) unless ``attempt`` is the current one of the benchmark."""
    current = job.benchmarks[index].attempt
    if attempt != current:
        raise problems.attempt_superseded(job.id, index, attempt, current)


def _with_samples(job: JobRecord, benchmark: BenchmarkRecord, samples: SampleSet) -> JobRecord:
    return with_benchmark(job, replace(benchmark, samples=samples))
