"""Runs that are open at a tracker when their job is deleted."""

from __future__ import annotations

import asyncio

from evalhub_common.backoff import Backoff
from evalhub_server.domain.outbox import PendingExport, with_pending_exports
from evalhub_server.domain.record import ExportOutcome, JobRecord, TrackedExperiment
from evalhub_server.engine.open_runs import OpenRuns
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins import Tracker
from evalhub_server.testing.builders import a_job


class Notebook(Tracker):
    """Raises ``faults``, one for each call, before it ends runs."""

    name = "notebook"

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.ended: list[str] = []

    async def check(self) -> None:
        return

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        return TrackedExperiment(id="7")

    def environment(self, tenant: str) -> dict[str, str]:
        return {}

    async def record(self, job: JobRecord) -> ExportOutcome:
        raise OSError("down")

    async def end_run(self, job: JobRecord) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.ended.append(job.id)


def a_job_with_a_pending_run() -> JobRecord:
    job = a_job(experiment_id="7", tracker="notebook")
    return with_pending_exports(job, [PendingExport(kind="tracker", name="notebook", event="run")])


async def test_a_run_is_ended_before_its_job_is_deleted() -> None:
    notebook = Notebook()
    runs = OpenRuns([notebook])
    job = a_job_with_a_pending_run()
    await runs.end(job)
    assert notebook.ended == [job.id]
    await runs.close()


async def test_a_run_that_cannot_be_ended_at_once_is_ended_in_the_background() -> None:
    notebook = Notebook(OSError("down"), ValueError(), TimeoutError())
    runs = OpenRuns([notebook], Backoff(0.001, 0.001))
    job = a_job_with_a_pending_run()
    await runs.end(job)
    assert notebook.ended == []
    async with asyncio.timeout(60):
        while not notebook.ended:
            await asyncio.sleep(0.001)
    await runs.close()


async def test_jobs_without_a_pending_run_are_left_alone() -> None:
    notebook = Notebook()
    runs = OpenRuns([notebook])
    await runs.end(a_job(experiment_id="7", tracker="notebook"))
    assert notebook.ended == []
    await runs.close()


async def test_close_stops_trying() -> None:
    notebook = Notebook(*[OSError("down")] * 100)
    runs = OpenRuns([notebook], Backoff(60, 60))
    await runs.end(a_job_with_a_pending_run())
    await runs.close()
    assert notebook.ended == []
