"""What changes of a job owe to trackers and exporters, and how that is paid off.

Like :mod:`evalhub_server.domain.transitions`: functions from record to record, which return the same object when
nothing changes. None of them touches ``updated_at``, so a job's evaluation card does not change by being sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.record import (
    BenchmarkRecord,
    ExportKind,
    ExportOutcome,
    ExportRecord,
    JobRecord,
)


class Debt(Struct, kw_only=True, frozen=True):
    """One thing that a change owes; see :class:`ExportRecord`."""

    kind: ExportKind
    name: str
    event: str
    asked: bool = True


def has_new_outcome(before: JobRecord | None, after: JobRecord) -> bool:
    """Has the job just ended, or has its outcome changed since, as when a result replaces a provisional failure?"""
    if before is None or not after.state.terminal:
        return False
    if before.state is not after.state:
        return True
    return before.benchmarks is not after.benchmarks and any(
        _outcome(old) != _outcome(new) for old, new in zip(before.benchmarks, after.benchmarks, strict=True)
    )


def _outcome(benchmark: BenchmarkRecord) -> tuple[object, ...]:
    return benchmark.state, benchmark.result, benchmark.error, benchmark.warning


def with_debts(job: JobRecord, debts: Sequence[Debt]) -> JobRecord:
    """Note what the change that made ``job`` owes. What is noted already becomes owed anew, in its place."""
    if not debts:
        return job
    exports = {export.key: export for export in job.exports}
    for debt in debts:
        owed = ExportRecord(
            kind=debt.kind, name=debt.name, event=debt.event, asked=debt.asked, since=job.updated_at
        )
        known = exports.get(owed.key)
        if known is not None:
            owed = replace(owed, revision=known.revision + 1, outcome=known.outcome)
        exports[owed.key] = owed
    return replace(job, exports=tuple(exports.values()))


def without_debts(job: JobRecord) -> JobRecord:
    """Forget what is still owed, for a job that is about to be deleted."""
    kept = tuple(export for export in job.exports if export.state != "pending")
    return job if len(kept) == len(job.exports) else replace(job, exports=kept)


def next_owed(job: JobRecord, kind: str, name: str) -> ExportRecord | None:
    """The oldest debt to one tracker or exporter: it gets them in the order in which they came up."""
    pending = (e for e in job.exports if (e.kind, e.name) == (kind, name) and e.state == "pending")
    return min(pending, key=lambda export: export.since, default=None)


def delivered(job: JobRecord, owed: ExportRecord, outcome: ExportOutcome) -> JobRecord:
    """Note a success. What has become owed anew meanwhile stays owed; where the export is, is known all the same."""

    def change(now: ExportRecord) -> ExportRecord:
        if now.revision != owed.revision:
            return replace(now, outcome=outcome)
        return replace(now, state="succeeded", attempts=now.attempts + 1, error="", outcome=outcome)

    return _changed(job, owed, change)


def attempt_failed(job: JobRecord, owed: ExportRecord, error: str, *, final: bool) -> JobRecord:
    """Note a failure; ``final``: it is not tried again."""

    def change(now: ExportRecord) -> ExportRecord:
        if now.revision != owed.revision:
            return now
        state = "failed" if final else "pending"
        return replace(now, state=state, attempts=now.attempts + 1, error=error)

    return _changed(job, owed, change)


def _changed(job: JobRecord, owed: ExportRecord, change: Callable[[ExportRecord], ExportRecord]) -> JobRecord:
    exports = tuple(change(e) if e.key == owed.key and e.state == "pending" else e for e in job.exports)
    if all(new is old for new, old in zip(exports, job.exports, strict=True)):
        return job
    return replace(job, exports=exports)
