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

    Methods are called from one event loop, concurrently for different jobs.
    """

    name: str
    """Its name in the configuration, in records, in the results of jobs, and in the ``exports`` that jobs request."""

    @abstractmethod
    async def check(self) -> None:
        """Check the settings. Called once at start. A target that is down is no error: it may be up when needed.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """

    @abstractmethod
    def is_requested(self, job: JobRecord) -> bool:
        """Whether the job's client requested this export. The results of such a job show the state of the export.

        Must be pure and quick: it is called within transactions.
        """

    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        """Return the exports that a change of a job requires, by names that the exporter defines.

        Called within the transaction of every change (``before`` is None for a new job), so it must be pure and quick. An
        exception is logged and no export is stored. An event that is in the job's outbox already becomes pending again.

        The default is the event ``card`` when a job with :meth:`is_requested` has ended, or its outcome changed after that.
        """
        return (CARD,) if has_new_outcome(before, after) and self.is_requested(after) else ()

    @abstractmethod
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Export the job in its present state, for ``entry.event``. Idempotent per job and event.

        The events of one job are exported one after the other, in their order. ``entry.since`` is the time of the change,
        ``entry.outcome`` the outcome of an earlier export of the same event. May be cancelled at any time. Any exception
        except :class:`ExportRefused` is retried.

        Raises:
            ExportRefused: a retry cannot succeed. The text is shown in the job's results.
        """

    async def job_deleted(self, job: JobRecord) -> None:
        """Called once after a job was deleted, with its last record: it has no outbox any more.

        Cancelled after 10 seconds. An exception is logged and not retried, and a server that dies first never calls it.
        """
        return

    async def close(self) -> None:
        """Release connections."""
        return
