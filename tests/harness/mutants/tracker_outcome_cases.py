"""Trackers that record outcomes wrongly, and their test classes."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec.structs import replace

from evalhub_server.plugins import (
    ExportOutcome,
    ExportRefused,
    JobRecord,
    JobRequest,
    State,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.testing import MemoryTracker
from harness.mutants import Mutants
from harness.mutants.tracker_cases import TrackerCase

TRACKER_OUTCOMES = Mutants()
breaks = TRACKER_OUTCOMES.breaks

EVERY = "every_ended_job_can_be_recorded"
NAMES = "names_of_experiments_are_compared_literally"


@breaks("results_of_all_benchmarks_are_recorded", "after a metric of the second benchmark had changed")
class RecordsTheFirstBenchmark(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        return await super().record(with_changes(job, benchmarks=job.benchmarks[:1]))


@breaks("metrics_are_recorded_with_all_of_their_digits", "after it had changed to 0.7500001")
class RoundsMetrics(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        benchmarks = tuple(
            replace(
                each,
                result=replace(each.result, metrics={k: round(v, 4) for k, v in each.result.metrics.items()}),
            )
            if each.result
            else each
            for each in job.benchmarks
        )
        return await super().record(with_changes(job, benchmarks=benchmarks))


@breaks("runs_show_whether_the_job_was_cancelled", "of a completed and of a cancelled job")
class CancelledRunsAreFinished(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        state = State.COMPLETED if job.state is State.CANCELLED else job.state
        return await super().record(with_changes(job, state=state))


@breaks(EVERY, "record() of a job that is")
class ExpectsResults(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        for each in job.benchmarks:
            if each.result is None:
                raise ValueError("no result")
        return await super().record(job)


@breaks(EVERY, "pass@1")
class RefusesNamesOfMetrics(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        names = [name for each in job.benchmarks if each.result for name in each.result.metrics]
        if any(not name.isidentifier() for name in names):
            raise ExportRefused(f"invalid metric: {names}")
        return await super().record(job)


@breaks(EVERY, "the run of a job that is")
class SkipsFailedJobs(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        return ExportOutcome() if job.state is State.FAILED else await super().record(job)


@breaks("concurrent_records_are_not_mixed_up", "runs of jobs that were recorded at once")
class RecordsTheLatestJob(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        self.job = job
        await asyncio.sleep(0)
        return await super().record(with_changes(self.job, id=job.id, experiments=job.progress.experiments))


@breaks("an_outage_during_a_record_leaves_no_half", "reported success during an outage")
class TakesABegunRunForRecorded(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ConnectionError:
            if job.id not in self._target.runs[job.progress.experiments[self.name].id]:
                raise
            return ExportOutcome(reference=job.id)


@breaks("ending_the_run_of_one_job_leaves_the_others", "has changed the run of another one")
class EndsAllOpenRuns(MemoryTracker):
    async def end_run(self, job: JobRecord) -> None:
        if experiment := job.progress.experiments.get(self.name):
            for run in self._target.runs.get(experiment.id, {}).values():
                run.status = "killed" if run.status == "running" else run.status


@breaks(NAMES, "experiments by name")
class NamesIgnoreCase(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None
        named = replace(request.experiment, name=request.experiment.name.lower())
        return await super().resolve_experiment(replace(request, experiment=named), job_id, tenant)


@breaks(NAMES, "experiments by name")
class NamesOf64Characters(MemoryTracker):
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None
        named = replace(request.experiment, name=request.experiment.name[:64])
        return await super().resolve_experiment(replace(request, experiment=named), job_id, tenant)


@breaks("it_can_be_closed_before_it_was_checked", "AttributeError")
class ClosesItsClient(MemoryTracker):
    client: Any

    async def check(self) -> None:
        self.client = None

    async def close(self) -> None:
        assert self.client is None


@breaks("recording_twice_leaves_one_run", "a job that is recorded twice")
class AddsToTheRun(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        outcome = await super().record(job)
        run = self._target.runs[job.progress.experiments[self.name].id][job.id]
        self.steps = getattr(self, "steps", 0) + 1
        run.metrics = {**run.metrics, "step": self.steps}
        return outcome


@breaks("a_job_without_an_experiment_is_refused", "reported success while it could not succeed")
class SwallowsRefusals(MemoryTracker):
    async def record(self, job: JobRecord) -> ExportOutcome:
        try:
            return await super().record(job)
        except ExportRefused:
            return ExportOutcome(reference=job.id)


class TrackerOutcomeCase(TrackerCase):
    """In this module, so that the names of the classes are."""


globals().update(TRACKER_OUTCOMES.cases(TrackerOutcomeCase))
