"""The contract of an exporter: a place that results of jobs, or news of them, are sent to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from evalhub_server.domain.outbox import has_new_outcome
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry

CARD = "card"
"""The one event of an exporter that sends the results of finished jobs."""


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
    """Sends something of a job somewhere, after the change that owes it is stored.

    What is owed is stored with the change itself, in one transaction, and then tried in the background until it
    succeeds: also when the other side is down for hours, also by the next server. So an export may happen twice (a
    server can die between the export and the note of it) and must be idempotent per job and event.
    """

    name: str

    @abstractmethod
    async def check(self) -> None:
        """Called once at start. Raise :class:`StartupError` if the settings cannot work."""

    @abstractmethod
    def wants(self, job: JobRecord) -> bool:
        """Does this job ask for this export? Then the job's results show its clients what became of it."""

    def owes(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        """Which exports a change of a job owes, by names of your own ("events").

        Called within the transaction of every change (``before`` is None for a new job), so it must be pure and
        quick; what it raises is logged and nothing is owed. An event that the job owes or owed already is owed anew.

        This one: the event ``card``, when a job that :meth:`wants` it has ended, or its outcome changed after that.
        """
        return (CARD,) if has_new_outcome(before, after) and self.wants(after) else ()

    @abstractmethod
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Export the job, as it is by now, for ``entry.event``. Idempotent per job and event.

        The events of one job come one after the other, in their order. ``entry.since`` is when the change happened,
        ``entry.outcome`` what an earlier export of the same event left. May be cancelled at any time.

        Raises :class:`ExportRefused` when another try cannot help; anything else means: try again later.
        """

    async def close(self) -> None:
        """Let go of connections."""
        return
