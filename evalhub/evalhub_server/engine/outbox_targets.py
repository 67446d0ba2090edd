"""Export targets: trackers and exporters as the outbox uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

import structlog

from evalhub_server.domain.outbox import PendingExport, has_new_outcome
from evalhub_server.domain.record import ExportKind, ExportOutcome, JobRecord, OutboxEntry
from evalhub_server.models.job import Exports
from evalhub_server.plugins.calls import call_fields
from evalhub_server.plugins.export import CARD, Exporter
from evalhub_server.plugins.tracking import Tracker

log = structlog.get_logger()

RUN = "run"
"""The only event of a tracker."""


class ExportTarget(ABC):
    """One tracker or exporter."""

    kind: ExportKind
    name: str

    @abstractmethod
    def pending_exports(self, before: JobRecord | None, after: JobRecord) -> Sequence[PendingExport]:
        """The exports to this target that a change requires."""

    @abstractmethod
    async def deliver(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Attempt one export."""

    @property
    @abstractmethod
    def settles(self) -> bool:
        """Whether :meth:`settle` does anything."""

    @abstractmethod
    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        """Undo what an attempt that was cut short has caused after the export had succeeded."""


class TrackerTarget(ExportTarget):
    """A tracker; receives every job that has an experiment there."""

    kind = "tracker"

    def __init__(self, tracker: Tracker) -> None:
        self.name = tracker.name
        self._tracker = tracker

    def pending_exports(self, before: JobRecord | None, after: JobRecord) -> Sequence[PendingExport]:
        if self.name not in after.progress.experiments or not has_new_outcome(before, after):
            return []
        return [PendingExport(kind=self.kind, name=self.name, event=RUN)]

    async def deliver(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        return await self._tracker.record(job)

    @property
    def settles(self) -> bool:
        return self._tracker.__class__.settle is not Tracker.settle

    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        await self._tracker.settle(job)


class ExporterTarget(ExportTarget):
    """An exporter; decides itself which exports a change requires."""

    kind = "exporter"

    def __init__(self, exporter: Exporter) -> None:
        self.name = exporter.name
        self._exporter = exporter

    def pending_exports(self, before: JobRecord | None, after: JobRecord) -> Sequence[PendingExport]:
        try:
            events = self._exporter.events(before, after)
            if not events:
                return ()
            requested = self._exporter.is_requested(after)
        except Exception as error:
            log.error(
                "Exporter failed to determine its pending exports",
                exporter=self.name,
                job_id=after.id,
                exc_info=error,
                **call_fields(error),
            )
            return []
        return [
            PendingExport(kind=self.kind, name=self.name, event=event, requested=requested)
            for event in events
        ]

    async def deliver(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        return await self._exporter.export(job, entry)

    @property
    def settles(self) -> bool:
        return self._exporter.__class__.settle is not Exporter.settle

    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        await self._exporter.settle(job, entry)


class ExportTargets:
    """All selected trackers and exporters. A :class:`JobStore` calls :meth:`pending_exports` for every change.

    ``installed`` has the names of all installed exporters, selected or not.
    """

    def __init__(
        self,
        trackers: Sequence[Tracker] = (),
        exporters: Sequence[Exporter] = (),
        installed: Collection[str] = (),
    ) -> None:
        self._installed = frozenset(installed)
        self._all: list[ExportTarget] = [
            *(TrackerTarget(tracker) for tracker in trackers),
            *(ExporterTarget(exporter) for exporter in exporters),
        ]
        self._by_key: dict[tuple[str, str], ExportTarget] = {
            (each.kind, each.name): each for each in self._all
        }

    def pending_exports(self, before: JobRecord | None, after: JobRecord) -> Sequence[PendingExport]:
        exports: list[PendingExport] = []
        for target in self._all:
            exports += target.pending_exports(before, after)
        if after.definition.request.exports is not None:
            exports += self._undeliverable(after.definition.request.exports, before, after)
        return exports

    def _undeliverable(
        self, exports: Exports, before: JobRecord | None, after: JobRecord
    ) -> Sequence[PendingExport]:
        """Exports that the job's client requested of exporters that are not selected; their failure is recorded."""
        if not exports.others or not has_new_outcome(before, after):
            return []
        return [
            PendingExport(kind="exporter", name=name, event=CARD, error=self._reason(name))
            for name in exports.others
            if self.get("exporter", name) is None
        ]

    def _reason(self, name: str) -> str:
        if name in self._installed:
            return "the exporter is installed but not selected; add it to plugins.exporters"
        return "no exporter of that name is installed"

    @property
    def keys(self) -> Sequence[tuple[ExportKind, str]]:
        """Kind and name of each target."""
        return [(each.kind, each.name) for each in self._all]

    def selected(self, kind: str, name: str) -> bool:
        """Whether there is such a target."""
        return (kind, name) in self._by_key

    def get(self, kind: ExportKind, name: str) -> ExportTarget | None:
        """None: the target was selected when the export became pending, and is no longer."""
        return self._by_key.get((kind, name))
