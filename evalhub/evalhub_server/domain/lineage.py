"""Reruns: the selection of a job's benchmarks, and the job that repeats them.

The *lineage* of a job is the first job of its chain and all reruns that derive from it, directly or not. A benchmark is
identified across a lineage by its index in the first job.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.planning import only_benchmarks
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord
from evalhub_server.domain.transitions import new_job
from evalhub_server.errors import FieldError
from evalhub_server.models.common import State
from evalhub_server.models.job import LineageMember
from evalhub_server.models.rerun import Selection


def selected_indexes(job: JobRecord, only: Selection) -> tuple[int, ...]:
    """The indexes of the benchmarks to repeat, ascending.

    Raises:
        ApiError: 400 ``request_validation_failed`` for an index that the job does not have; 409 ``job_can_not_be_rerun``
            if the job has not ended or nothing is selected.
    """
    if isinstance(only, tuple):
        size = len(job.benchmarks)
        faults = [
            FieldError(f"only[{position}]", f"must be the index of a benchmark, from 0 to {size - 1}")
            for position, index in enumerate(only)
            if not 0 <= index < size
        ]
        if not only:
            faults = [FieldError("only", "must not be an empty list")]
        if faults:
            raise problems.validation_failed(f"{faults[0].path} {faults[0].message}", faults)
    if not job.state.terminal:
        raise problems.not_rerunnable(job.id, "has not ended; wait for it or cancel it")
    if isinstance(only, tuple):
        return tuple(sorted(set(only)))
    indexes = tuple(b.index for b in job.benchmarks if only == "all" or _selected(b, only))
    if not indexes:
        raise problems.not_rerunnable(job.id, f"has nothing to repeat: no benchmark of it is {only}")
    return indexes


def _selected(benchmark: BenchmarkRecord, only: str) -> bool:
    if benchmark.state in (State.FAILED, State.CANCELLED):
        return True
    return only == "missing" and (benchmark.result is None or not benchmark.result.metrics)


def rerun_of(
    original: JobRecord,
    indexes: tuple[int, ...],
    job_id: str,
    now: datetime,
    *,
    owner: str,
    reuse_samples: bool = True,
) -> JobRecord:
    """A pending job that repeats benchmarks of ``original`` as they were planned, in the same experiments."""
    plan = original.plan
    benchmarks = tuple(plan.benchmarks[index] for index in indexes)
    providers = {benchmark.provider_id for benchmark in benchmarks}
    job = new_job(
        job_id,
        only_benchmarks(original.request, indexes),
        JobPlan(
            benchmarks=benchmarks,
            runtimes={name: runtime for name, runtime in plan.runtimes.items() if name in providers},
            threshold=plan.threshold,
        ),
        now,
        tenant=original.tenant,
        owner=owner,
        experiments=original.progress.experiments,
    )
    definition = replace(
        job.definition,
        derived_from=original.id,
        repeats=indexes,
        lineage=lineage_id(original),
        reuses_samples=reuse_samples,
        origins=tuple(origin(original, index) for index in indexes),
    )
    return JobRecord(definition=definition, progress=job.progress, benchmarks=job.benchmarks)


def lineage_id(job: JobRecord) -> str:
    """The id of the first job of the lineage."""
    return job.definition.lineage or job.id


def in_lineage(job: JobRecord) -> bool:
    """Whether the job is a rerun, or has been repeated."""
    return bool(job.definition.lineage) or job.progress.repeated


def origin(job: JobRecord, index: int) -> int:
    """The index in the first job of the lineage of a benchmark of ``job``."""
    origins = job.definition.origins
    return origins[index] if index < len(origins) else index


def lineage_members(jobs: Iterable[JobRecord]) -> tuple[LineageMember, ...]:
    """What a resource shows of the jobs of its lineage."""
    return tuple(
        LineageMember(
            id=job.id,
            derived_from=job.definition.derived_from,
            repeats=job.definition.repeats,
            created_at=job.created_at,
            state=job.state,
        )
        for job in jobs
    )
