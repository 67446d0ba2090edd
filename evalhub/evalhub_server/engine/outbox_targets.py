"""Where results go: trackers and exporters as the finalizer sees them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import structlog

from evalhub_server.domain.outbox import Debt, has_new_outcome
from evalhub_server.domain.record import ExportKind, ExportOutcome, ExportRecord, JobRecord
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

RUN = "run"
"""The one event of a tracker."""


class Destination(ABC):
    """One tracker or exporter."""

    kind: ExportKind
    name: str

    @abstractmethod
    def debts(self, before: JobRecord | None, after: JobRecord) -> Sequence[Debt]:
        """What a change owes it."""

    @abstractmethod
    async def deliver(self, job: JobRecord, owed: ExportRecord) -> ExportOutcome:
        """Pay one debt."""


class TrackerDestination(Destination):
    """A tracker gets every job that has an experiment."""

    kind = "tracker"

    def __init__(self, tracker: Tracker) -> None:
        self.name = tracker.name
        self._tracker = tracker

    def debts(self, before: JobRecord | None, after: JobRecord) -> Sequence[Debt]:
        owed = after.experiment is not None and has_new_outcome(before, after)
        return [Debt(kind=self.kind, name=self.name, event=RUN)] if owed else []

    async def deliver(self, job: JobRecord, owed: ExportRecord) -> ExportOutcome:
        return await self._tracker.record(job)


class ExporterDestination(Destination):
    """An exporter says itself what it is owed."""

    kind = "exporter"

    def __init__(self, exporter: Exporter) -> None:
        self.name = exporter.name
        self._exporter = exporter

    def debts(self, before: JobRecord | None, after: JobRecord) -> Sequence[Debt]:
        try:
            events = self._exporter.owes(before, after)
            asked = bool(events) and self._exporter.wants(after)
        except Exception as error:
            log.error(
                "exporter cannot say what it is owed", exporter=self.name, job_id=after.id, exc_info=error
            )
            return []
        return [Debt(kind=self.kind, name=self.name, event=event, asked=asked) for event in events]

    async def deliver(self, job: JobRecord, owed: ExportRecord) -> ExportOutcome:
        return await self._exporter.export(job, owed)


class Destinations:
    """All of them. :meth:`debts` is what a :class:`JobStore` asks about every change."""

    def __init__(self, trackers: Sequence[Tracker] = (), exporters: Sequence[Exporter] = ()) -> None:
        self._all: list[Destination] = [
            *(TrackerDestination(tracker) for tracker in trackers),
            *(ExporterDestination(exporter) for exporter in exporters),
        ]
        self._by_key = {(each.kind, each.name): each for each in self._all}

    def debts(self, before: JobRecord | None, after: JobRecord) -> Sequence[Debt]:
        return [debt for destination in self._all for debt in destination.debts(before, after)]

    def get(self, kind: ExportKind, name: str) -> Destination | None:
        """None: it was selected when the debt was made, and is not any more."""
        return self._by_key.get((kind, name))
