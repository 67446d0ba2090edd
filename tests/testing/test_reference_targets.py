"""The reference tracker, exporter and observer keep the contracts that they are the references of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalhub_server.plugins import Observer
from evalhub_server.testing import MemoryExporter, MemoryObserver, MemoryTracker, ObserverContract
from harness.mutants.exporter_cases import ExporterCase
from harness.mutants.tracker_cases import TrackerCase


class TestMemoryTracker(TrackerCase):
    implementation = MemoryTracker


class TestMemoryExporter(ExporterCase):
    implementation = MemoryExporter


class TestMemoryObserver(ObserverContract):
    has_target = False

    def make_observer(self, directory: Path) -> Observer:
        self.observer = MemoryObserver()
        return self.observer

    async def received(self) -> Sequence[str]:
        return self.observer.job_ids
