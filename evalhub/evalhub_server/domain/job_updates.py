"""What clients see of a change of a job, as events of a stream."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter

from evalhub_server.domain.job_changes import BenchmarkPairs, JobChanged
from evalhub_server.domain.job_view import benchmark_status
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord
from evalhub_server.models.job import BenchmarkStatus
from evalhub_server.models.stream import BenchmarkUpdate, JobUpdate

Update = JobUpdate | BenchmarkUpdate

_shown = attrgetter(
    *(
        name
        for name in BenchmarkRecord.__struct_fields__
        if name not in ("launched_at", "handle", "runtime", "exit")
    )
)


def job_update(job: JobRecord, *, deleted: bool = False) -> JobUpdate:
    return JobUpdate(
        job_id=job.id,
        name=job.request.name,
        state=job.state,
        message=job.progress.message,
        updated_at=job.progress.updated_at,
        test=job.progress.test,
        deleted=deleted,
    )


def current_state(job: JobRecord) -> tuple[Update, ...]:
    """The whole state of a job."""
    return (job_update(job), *(BenchmarkUpdate(job_id=job.id, benchmark=each) for each in _statuses(job)))


def visible_changes(change: JobChanged) -> tuple[Update, ...]:
    """The updates for a committed change, benchmarks first; none if clients see no difference."""
    before, after = change.before, change.after
    if after is None:
        return () if before is None else (job_update(before, deleted=True),)
    if before is None:
        return current_state(after)
    updates: list[Update] = [
        BenchmarkUpdate(job_id=after.id, benchmark=status)
        for status in _changed_statuses(after.plan, change.benchmarks)
    ]
    old, new = before.progress, after.progress
    if old is not new and (old.state, old.test, old.message) != (new.state, new.test, new.message):
        updates.append(job_update(after))
    return tuple(updates)


def _statuses(job: JobRecord) -> Iterator[BenchmarkStatus]:
    return (benchmark_status(job.plan.benchmarks[each.index], each) for each in job.benchmarks)


def _changed_statuses(plan: JobPlan, changed: BenchmarkPairs) -> Iterator[BenchmarkStatus]:
    for old, new in changed:
        if _shown(old) == _shown(new):
            continue  # such as its handle: records share what did not change, so this compares identities
        planned = plan.benchmarks[new.index]
        status = benchmark_status(planned, new)
        if status != benchmark_status(planned, old):
            yield status
