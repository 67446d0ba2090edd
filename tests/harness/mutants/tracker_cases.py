"""Trackers that break one promise each, and their test classes."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_server.plugins import (
    ApiError,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    JobRequest,
    TrackedExperiment,
    Tracker,
)
from evalhub_server.testing import (
    MemoryTarget,
    MemoryTracker,
    TrackerContract,
)
from evalhub_server.testing.targets import MemoryRun
from harness.mutants import Mutants

TRACKERS = Mutants()
breaks = TRACKERS.breaks
TOKEN = "token-of-the-target"
numbers = count()


@breaks("recording_twice_leaves_one_run", "a job that is recorded twice")
class NewRunForEachRecord(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        experiment = job.progress.experiments[self.name]
        run_id = f"run-{next(numbers)}"
        self._target.runs[experiment.id][run_id] = MemoryRun(status=job.state.value)
        return ExportOutcome(reference=run_id)


@breaks("a_job_that_another_server_records_again_is_one_run", "recorded again after a restart")
class RemembersRunsInMemory(MemoryTracker):
    def __init__(self, target: MemoryTarget) -> None:
        super().__init__(target)
        self.known: dict[str, str] = {}

    async def record(self, job: JobRecord) -> ExportOutcome:
        run_id = self.known.setdefault(job.id, f"run-{next(numbers)}")
        self._target.runs[job.progress.experiments[self.name].id][run_id] = MemoryRun(status=job.state.value)
        return ExportOutcome(reference=run_id)


@breaks("settling_a_recorded_job_leaves_its_run", "settle() changed the run")
class SettlesWithoutTheRecord(MemoryTracker):
    async def settle(self, job: JobRecord) -> None:
        self._target.runs[job.progress.experiments[self.name].id].clear()


@breaks("an_experiment_is_found_again", "different experiments")
class NewExperimentForEachJob(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        self._target.experiments.clear()
        found = await super().resolve_experiment(request, job_id, tenant)
        return replace(found, id=f"{found.id}-{next(numbers)}")


@breaks("concurrent_jobs_of_a_new_experiment_share_it", "experiments with one name")
class CreatesExperimentsInARace(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None
        name = request.experiment.name
        if name not in self._target.experiments:
            await self._target.respond()
            self._target.experiments[name] = f"experiment-{next(numbers)}"
        return TrackedExperiment(id=self._target.experiments[name])


@breaks("different_names_are_different_experiments", "experiments by name")
class CutsNames(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None
        name = request.experiment.name.partition("'")[0].strip()
        return await super().resolve_experiment(
            replace(request, experiment=replace(request.experiment, name=name)), job_id, tenant
        )


@breaks("an_unavailable_tracking_server_is_retried", "refused for good while the server was down")
class GivesUpDuringOutages(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ConnectionError as error:
            raise ExportRefused(str(error)) from error


@breaks("an_unavailable_tracking_server_is_retried", "reported success while it could not succeed")
class IgnoresOutages(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ConnectionError:
            return ExportOutcome(reference=job.id)


@breaks("a_job_of_a_deleted_experiment_is_refused", "would retry at a deleted experiment")
class RetriesForever(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ExportRefused as error:
            if self.name in job.progress.experiments:
                raise RuntimeError(str(error)) from error
            raise


@breaks("a_job_is_refused_while_the_tracking_server_is_unavailable", "must raise ApiError")
class RaisesConnectionErrors(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        try:
            return await super().resolve_experiment(request, job_id, tenant)
        except ApiError as error:
            raise ConnectionError(error.message) from error


@breaks("ending_the_run_of_a_job_creates_nothing", "was never recorded")
class EndingCreatesARun(MemoryTracker):
    async def end_run(self, job: JobRecord) -> None:
        if experiment := job.progress.experiments.get(self.name):
            self._target.runs[experiment.id].setdefault(job.id, MemoryRun(status="killed"))
        await super().end_run(job)


@breaks("ending_the_run_of_a_recorded_job_leaves_it", "changed a run that was complete")
class KillsCompleteRuns(MemoryTracker):
    async def end_run(self, job: JobRecord) -> None:
        if experiment := job.progress.experiments.get(self.name):
            for run in self._target.runs[experiment.id].values():
                run.status = "killed"


@breaks("no_run_of_a_deleted_job_stays_open", "runs left open")
class LeavesRunsOpen(MemoryTracker):
    async def end_run(self, job: JobRecord) -> None:
        return


@breaks("a_new_outcome_updates_the_run", "only the earlier outcome")
class KeepsTheFirstOutcome(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        experiment = job.progress.experiments.get(self.name)
        run = self._target.runs.get(experiment.id, {}).get(job.id) if experiment else None
        if run is not None and run.status != "running":
            return ExportOutcome(reference=job.id)
        return await super().record(job)


@breaks("runs_show_whether_the_job_failed", "of a completed and of a failed job")
class AllRunsSucceed(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        outcome = await super().record(job)
        self._target.runs[job.progress.experiments[self.name].id][job.id].status = "completed"
        return outcome


@breaks("jobs_of_one_experiment_have_runs_of_their_own", "references of 4 jobs")
class OneRunForAnExperiment(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        await super().record(job)
        return ExportOutcome(reference=job.progress.experiments[self.name].id)


@breaks("secrets_are_not_shown", "secrets can be read in the error of an outage")
class ShowsItsToken(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ConnectionError as error:
            raise ConnectionError(f"{error} (Authorization: Bearer {TOKEN})") from error


@breaks("it_starts_while_the_tracking_server_is_unavailable", "although only the server is unavailable")
class NeedsTheServerToStart(MemoryTracker):
    async def check(self) -> None:
        await self._target.respond()


@breaks("a_finished_job_becomes_a_run", "blocked the event loop")
class BlocksTheLoop(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        time.sleep(3.0)  # noqa: ASYNC251  the fault
        return await super().record(job)


class TrackerCase(TrackerContract):
    implementation: type[MemoryTracker]
    secrets = (TOKEN,)
    blocked_s = 0.5

    @pytest.fixture(autouse=True)
    def tracking_server(self) -> None:
        self.target = MemoryTarget()

    def make_tracker(self, directory: Path) -> Tracker:
        return self.implementation(self.target)

    async def runs(self, experiment: TrackedExperiment, tenant: str) -> Mapping[str, object]:
        runs = self.target.runs.get(experiment.id, {})
        return {run_id: (run.status, run.metrics) for run_id, run in runs.items()}

    async def open_runs(self, experiment: TrackedExperiment, tenant: str) -> Collection[str]:
        runs = self.target.runs[experiment.id]
        return [run_id for run_id, run in runs.items() if run.status == "running"]

    def unavailable(self) -> AbstractContextManager[object]:
        return self.target.when("down")

    async def delete_experiment(self, experiment: TrackedExperiment, tenant: str) -> None:
        del self.target.runs[experiment.id]


globals().update(TRACKERS.cases(TrackerCase, MemoryTracker))
