"""The outbox of a job: exports to trackers and exporters that are pending, and the outcome of their attempts.

Like :mod:`evalhub_server.domain.transitions`: functions from record to record, which return the same object when
nothing changes. None of them changes ``updated_at``, so that an export does not alter the job's evaluation card.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.job_changes import changed_benchmarks
from evalhub_server.domain.record import (
    BenchmarkRecord,
    ExportKind,
    ExportOutcome,
    JobRecord,
    OutboxEntry,
    with_changes,
)

EntryKey = tuple[str, str, str]
"""Kind, name and event of an entry."""


class PendingExport(Struct, kw_only=True, frozen=True):
    """An export that a change of a job requires; see :class:`OutboxEntry`. ``error``: it cannot be delivered."""

    kind: ExportKind
    name: str
    event: str
    requested: bool = True
    error: str = ""


def has_new_outcome(before: JobRecord | None, after: JobRecord) -> bool:
    """Whether the job has just ended, or its outcome changed since, as when a result replaces a provisional failure."""
    if before is None or not after.state.terminal:
        return False
    if before.state is not after.state:
        return True
    return any(_outcome(old) != _outcome(new) for old, new in changed_benchmarks(before, after))


def _outcome(benchmark: BenchmarkRecord) -> tuple[object, ...]:
    return benchmark.state, benchmark.result, benchmark.error, benchmark.warning


def with_pending_exports(job: JobRecord, exports: Sequence[PendingExport]) -> JobRecord:
    """Add exports to the outbox. An entry that exists becomes pending again, in its place."""
    if not exports:
        return job
    entries = {entry.key: entry for entry in job.progress.outbox}
    for export in exports:
        entry = OutboxEntry(
            kind=export.kind,
            name=export.name,
            event=export.event,
            requested=export.requested,
            state="failed" if export.error else "pending",
            error=export.error,
            since=job.progress.updated_at,
        )
        known = entries.get(entry.key)
        if known is not None:
            entry = replace(entry, revision=known.revision + 1, outcome=known.outcome, recheck=known.recheck)
        entries[entry.key] = entry
    return with_changes(job, outbox=tuple(entries.values()))


def without_pending_exports(job: JobRecord) -> JobRecord:
    """Drop the pending entries, for a job that is about to be deleted."""
    kept = tuple(entry for entry in job.progress.outbox if entry.state != "pending")
    return job if len(kept) == len(job.progress.outbox) else with_changes(job, outbox=kept)


def next_pending(job: JobRecord, kind: str, name: str) -> OutboxEntry | None:
    """The oldest pending entry for one tracker or exporter, which receives exports in the order of the changes."""
    pending = (e for e in job.progress.outbox if (e.kind, e.name) == (kind, name) and e.state == "pending")
    return min(pending, key=lambda entry: entry.since, default=None)


def delivered(
    job: JobRecord, entry: OutboxEntry, outcome: ExportOutcome, *, recheck: bool = False
) -> JobRecord:
    """Record a successful attempt. An entry with a newer revision stays pending, but gets the outcome.

    ``recheck``: an attempt of an earlier server may have been cut short.
    """

    def change(now: OutboxEntry) -> OutboxEntry:
        if now.revision != entry.revision:
            return replace(now, outcome=outcome, recheck=now.recheck or recheck)
        return replace(
            now,
            state="succeeded",
            attempts=now.attempts + 1,
            error="",
            failing_since=None,
            outcome=outcome,
            recheck=now.recheck or recheck,
        )

    return _changed(job, entry, change)


def with_recheck(job: JobRecord, keys: Collection[EntryKey], *, recheck: bool) -> JobRecord:
    """Set or clear ``recheck`` of the entries with these keys."""
    before = job.progress.outbox
    after = tuple(
        replace(e, recheck=recheck) if e.key in keys and e.recheck is not recheck else e for e in before
    )
    return job if after == before else with_changes(job, outbox=after)


def attempt_failed(
    job: JobRecord, entry: OutboxEntry, error: str, now: datetime, *, final: bool
) -> JobRecord:
    """Record an attempt that failed at ``now``; ``final``: there is no retry."""

    def change(current: OutboxEntry) -> OutboxEntry:
        if current.revision != entry.revision:
            return current
        return replace(
            current,
            state="failed" if final else "pending",
            attempts=current.attempts + 1,
            error=error,
            failing_since=current.failing_since or now,
        )

    return _changed(job, entry, change)


def retried(job: JobRecord, is_selected: Callable[[str, str], bool]) -> JobRecord:
    """Make failed exports pending again, and let those that wait for their next attempt start over.

    ``is_selected(kind, name)``: whether the tracker or exporter can deliver; other entries stay as they are. The revision
    stays, too: a message to a webhook that may have arrived is repeated under its id.
    """

    def change(entry: OutboxEntry) -> OutboxEntry:
        unfinished = entry.state == "failed" or (entry.state == "pending" and entry.attempts)
        if not unfinished or not is_selected(entry.kind, entry.name):
            return entry
        return replace(entry, state="pending", attempts=0, failing_since=None)

    before = job.progress.outbox
    after = tuple(map(change, before))
    if all(new is old for new, old in zip(after, before, strict=True)):
        return job
    return with_changes(job, outbox=after)


def _changed(job: JobRecord, entry: OutboxEntry, change: Callable[[OutboxEntry], OutboxEntry]) -> JobRecord:
    before = job.progress.outbox
    after = tuple(change(e) if e.key == entry.key and e.state == "pending" else e for e in before)
    if all(new is old for new, old in zip(after, before, strict=True)):
        return job
    return with_changes(job, outbox=after)
