"""Reference tracker, exporter and observer: short implementations of their contracts, over targets in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

from msgspec import Struct

from evalhub_server.domain.card import card_json
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry, TrackedExperiment
from evalhub_server.errors import ApiError, ExportRefused
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.observation import Observer
from evalhub_server.plugins.tracking import Tracker


class MemoryTarget:
    """The other side of the reference plugins. It outlives them, as a database server outlives its clients."""

    def __init__(self) -> None:
        self.state: Literal["up", "down", "refusing"] = "up"
        self.cards: dict[str, bytes] = {}
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, MemoryRun]] = {}

    async def respond(self) -> None:
        """Take the time of a response. Raises :class:`ConnectionError` or :class:`ExportRefused` instead of one."""
        await asyncio.sleep(0)
        if self.state == "down":
            raise ConnectionError("the target in memory is down")
        if self.state == "refusing":
            raise ExportRefused("the target in memory accepts nothing")

    @contextmanager
    def when(self, state: Literal["down", "refusing"]) -> Generator[None]:
        """Be down, or refuse exports, within the context."""
        self.state = state
        try:
            yield
        finally:
            self.state = "up"


class MemoryRun(Struct, kw_only=True):
    """A run in a :class:`MemoryTarget`."""

    status: str = "running"
    metrics: dict[str, Any] = {}


class MemoryTracker(Tracker):
    """Records finished jobs in a :class:`MemoryTarget`. A run has the job's id, so a repeated record finds it."""

    name = "memory"

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    async def check(self) -> None:
        """Do nothing: the target may be down, and there are no settings."""

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None  # noqa: S101  guaranteed by the caller
        try:
            await self._target.respond()
        except (ConnectionError, ExportRefused) as error:
            raise ApiError(
                400, "mlflow_request_failed", f"The experiment cannot be resolved: {error}"
            ) from error
        known = self._target.experiments
        experiment_id = known.setdefault(request.experiment.name, f"experiment-{len(known)}")
        self._target.runs.setdefault(experiment_id, {})
        return TrackedExperiment(id=experiment_id)

    def environment(self, tenant: str) -> Mapping[str, str]:
        return {"MEMORY_TRACKER_TENANT": tenant}

    async def record(self, job: JobRecord) -> ExportOutcome:
        experiment = job.progress.experiments.get(self.name)
        if experiment is None or experiment.id not in self._target.runs:
            raise ExportRefused(f"The experiment of job {job.id} does not exist in {self.name}.")
        await self._target.respond()
        run = self._target.runs[experiment.id].setdefault(job.id, MemoryRun())
        await self._target.respond()
        run.metrics = {
            f"{each.index}": dict(each.result.metrics) if each.result else {} for each in job.benchmarks
        }
        run.status = job.state.value
        return ExportOutcome(reference=job.id)

    async def end_run(self, job: JobRecord) -> None:
        experiment = job.progress.experiments.get(self.name)
        run = self._target.runs.get(experiment.id, {}).get(job.id) if experiment else None
        if run is not None and run.status == "running":
            await self._target.respond()
            run.status = "killed"


class MemoryExporter(Exporter):
    """Puts evaluation cards into a :class:`MemoryTarget`, by the id of the job, for jobs that request ``exports.memory``."""

    name = "memory"

    def __init__(self, target: MemoryTarget) -> None:
        self._target = target

    async def check(self) -> None:
        """Do nothing: the target may be down, and there are no settings."""

    def is_requested(self, job: JobRecord) -> bool:
        return job.request.exports is not None and self.name in job.request.exports.others

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        card = card_json(job)
        await self._target.respond()
        self._target.cards[job.id] = card
        return ExportOutcome(reference=job.id)


class MemoryObserver(Observer):
    """Keeps the changes of jobs."""

    name = "memory"

    def __init__(self) -> None:
        self.changes: list[JobChanged] = []

    def job_changed(self, change: JobChanged) -> None:
        self.changes.append(change)

    @property
    def job_ids(self) -> list[str]:
        """The job of each change."""
        jobs = (change.after or change.before for change in self.changes)
        return [job.id for job in jobs if job is not None]
