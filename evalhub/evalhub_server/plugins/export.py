"""The contract of an exporter: a target for results of jobs, or for messages about them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from evalhub_server.domain.outbox import has_new_outcome
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry

CARD = "card"
"""The event of :meth:`Exporter.events` by default: the results of a finished job."""


T = TypeVar("T", bound=Struct)


def export_request(job: JobRecord, name: str, type_: type[T]) -> T | None:
    """Return what the job requests of the exporter ``name`` (``exports.<name>``); None if nothing.

    Raises:
        msgspec.ValidationError: it is not of that type. That cannot happen for the ``request`` of the exporter's
            descriptor, unless the job was stored by a server without the exporter.
    """
    others = job.request.exports.others if job.request.exports else {}
    return msgspec.convert(others[name], type_) if name in others else None


class Exporter(ABC):
    """A target for results of jobs, or for messages about them.

    Exports go through an outbox: what a change of a job requires (:meth:`events`) is stored in the same transaction as the
    change, and :meth:`export` is then called in the background until it succeeds, also after hours of outage and by the
    next server. A server can die between an export and the record of its success, so exports are delivered at least once
    and must be idempotent per job and event.

    Methods are called from one event loop, concurrently for different jobs, and must not block it for more than 0.2 seconds.
    """

    name: str
    """Its name in the configuration, in records, in the results of jobs, and in the ``exports`` that jobs request."""

    @abstractmethod
    async def check(self) -> None:
        """Check the settings. A target that is down is no error: it may be up when needed.

        Called: once at start, before all other methods.
        Concurrency: nothing else of the exporter runs.
        Repeats: each start of a server.
        Cancellation: never.
        Failure: the server exits with status 1; after a StartupError with its text alone. :meth:`close` is called.
        Time limit: none; all requests but those for health wait for it.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """

    @abstractmethod
    def is_requested(self, job: JobRecord) -> bool:
        """Whether the job's client requested this export. The results of such a job show the state of the export.

        Called: within the transaction of a change, by the default of :meth:`events` and for each export that a change requires.
        Concurrency: on the event loop, one call at a time.
        Repeats: pure: the same answer for the same record.
        Cancellation: never; it is a plain function.
        Failure: as for :meth:`events`.
        Time limit: none; all writes of jobs wait for it.
        """

    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        """Return the exports that a change of a job requires, by names that the exporter defines.

        An event that is in the job's outbox already becomes pending again. The default is the event ``card`` when a job with
        :meth:`is_requested` has ended, or its outcome changed after that.

        Called: within the transaction of every change of every job; ``before`` is None for a new one.
        Concurrency: on the event loop, one call at a time.
        Repeats: pure: the same answer for the same records, since a change may be computed more than once.
        Cancellation: never; it is a plain function.
        Failure: any exception is logged; the change is stored without an export.
        Time limit: none; all writes of jobs wait for it.
        """
        return (CARD,) if has_new_outcome(before, after) and self.is_requested(after) else ()

    @abstractmethod
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Export the job in its present state, for ``entry.event``.

        ``entry.since`` is the time of the change, ``entry.outcome`` the outcome of an earlier export of the same event.

        Called: in the background, for each event that :meth:`events` returned, in their order.
        Concurrency: one call at a time for a job; at most ``finalizer.max_parallel`` (8) jobs at a time.
        Repeats: idempotent for a job and event: a repeated call, also after a restart, replaces the export of the first.
        Cancellation: after the time limit, when the job is deleted, and 0.4 seconds after the server began to close its outbox.
            What it has written may stay; the next call replaces it.
        Failure: any exception but an ExportRefused is retried, up to ``finalizer.max_attempts`` (2700), with pauses that grow
            from 1 second to ``finalizer.retry_most`` (300 seconds). The job keeps its results; they show the state of a
            requested export.
        Time limit: 120 seconds for each attempt.

        Raises:
            ExportRefused: a retry cannot succeed. The text is shown in the job's results.
        """

    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        """Undo what a cancelled :meth:`export` has caused after a later one had succeeded with ``entry.outcome``.

        A request of a server that died may reach the target after the next server's. The default does nothing.

        Called: in the background after an export succeeded, if an earlier server may have attempted it: 5 seconds after the success,
            and again 30 seconds later.
        Concurrency: one call at a time for a job and event; at most ``finalizer.max_parallel`` (8) calls in total.
        Repeats: idempotent, also by the next server.
        Cancellation: after the time limit, and when the server stops. The next server calls it again.
        Failure: any exception is logged and retried after 30 seconds.
        Time limit: 120 seconds for each attempt.
        """
        return

    async def job_deleted(self, job: JobRecord) -> None:
        """Receive the last record of a job that was deleted: it has no outbox any more.

        Called: once after a job was deleted, in the background. A server that dies first, or whose queue is full, never calls it.
        Concurrency: one call at a time, overlapping with exports of other jobs.
        Repeats: never.
        Cancellation: after the time limit, and 0.3 seconds after the server began to close its observers.
        Failure: any exception is logged and counted, and not retried.
        Time limit: 10 seconds.
        """
        return

    async def close(self) -> None:
        """Release connections.

        Called: once at the end of the server, after everything that uses the exporter, and after a :meth:`check` that failed.
        Concurrency: nothing else of the exporter runs.
        Repeats: never.
        Cancellation: never.
        Failure: the other parts are closed nevertheless; the server exits with status 1.
        Time limit: none; a service manager may kill the server.
        """
        return
