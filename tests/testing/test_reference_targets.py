"""The reference tracker, exporter and observer keep the contracts that they are the references of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_server.plugins import (
    Exporter,
    Exports,
    JobRecord,
    Observer,
    TrackedExperiment,
    Tracker,
    with_changes,
)
from evalhub_server.testing import (
    ExporterContract,
    MemoryExporter,
    MemoryObserver,
    MemoryTarget,
    MemoryTracker,
    ObserverContract,
    TrackerContract,
)


class TestMemoryTracker(TrackerContract):
    @pytest.fixture(autouse=True)
    def tracking_server(self) -> None:
        self.target = MemoryTarget()

    def make_tracker(self, directory: Path) -> Tracker:
        return MemoryTracker(self.target)

    async def runs(self, experiment: TrackedExperiment, tenant: str) -> Mapping[str, object]:
        runs = self.target.runs[experiment.id]
        return {run_id: (run.status, run.metrics) for run_id, run in runs.items()}

    async def open_runs(self, experiment: TrackedExperiment, tenant: str) -> Collection[str]:
        runs = self.target.runs[experiment.id]
        return [run_id for run_id, run in runs.items() if run.status == "running"]

    def unavailable(self) -> AbstractContextManager[object]:
        return self.target.when("down")

    async def delete_experiment(self, experiment: TrackedExperiment, tenant: str) -> None:
        del self.target.runs[experiment.id]


class TestMemoryExporter(ExporterContract):
    @pytest.fixture(autouse=True)
    def archive(self) -> None:
        self.target = MemoryTarget()

    def make_exporter(self, directory: Path) -> Exporter:
        return MemoryExporter(self.target)

    def requested(self, job: JobRecord) -> JobRecord:
        return with_changes(job, request=replace(job.request, exports=Exports(others={"memory": {}})))

    async def exported(self, job: JobRecord) -> Mapping[str, object]:
        return {key: card for key, card in self.target.cards.items() if key == job.id}

    def unavailable(self) -> AbstractContextManager[object]:
        return self.target.when("down")

    def refusing(self) -> AbstractContextManager[object]:
        return self.target.when("refusing")


class TestMemoryObserver(ObserverContract):
    has_target = False

    def make_observer(self, directory: Path) -> Observer:
        self.observer = MemoryObserver()
        return self.observer

    async def received(self) -> Sequence[str]:
        return self.observer.job_ids
