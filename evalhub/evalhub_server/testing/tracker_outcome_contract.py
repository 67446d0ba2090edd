"""Contract tests for what a tracker records of jobs; a part of ``TrackerContract``."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, ResultRecord, with_changes
from evalhub_server.errors import ExportRefused
from evalhub_server.models.common import State
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_server.testing.contract import TURNS
from evalhub_server.testing.exporter_case import with_score
from evalhub_server.testing.tracker_case import TrackerCase


def of_two_benchmarks(job: JobRecord, second: float, minutes: int) -> JobRecord:
    """Return the job with a second benchmark, whose metric has the value, as it ended after ``minutes``."""
    ended = EPOCH + timedelta(minutes=minutes)
    two = a_job(size=2)
    (first,) = job.benchmarks
    other = msgspec.structs.replace(
        first, index=1, completed_at=ended.isoformat(), result=ResultRecord(metrics={"acc": second})
    )
    request = msgspec.structs.replace(job.request, benchmarks=two.request.benchmarks)
    return with_changes(job, plan=two.plan, request=request, benchmarks=(first, other), updated_at=ended)


@pytest.mark.asyncio
class TrackerOutcomeContract(TrackerCase):
    """A base class of ``TrackerContract``."""

    async def test_it_can_be_closed_before_it_was_checked(self, tmp_path: Path) -> None:
        """The server closes it after a check that failed."""
        await self.soon(self.make_tracker(tmp_path).close())

    async def test_names_of_experiments_are_compared_literally(self, tracker: Tracker) -> None:
        base = f"experiment-{uuid4()}"
        long = f"{base} {'x' * 150}"
        names = [base, base.upper(), base.replace("-", "_"), f"{long} 1", f"{long} 2"]
        found = {name: (await self.resolve(tracker, name)).id for name in names}
        assert len(set(found.values())) == len(names), f"experiments by name: {found}"

    async def test_results_of_all_benchmarks_are_recorded(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        await self.soon(tracker.record(of_two_benchmarks(job, 0.75, 5)))
        earlier = await self.runs_of(tracker, job)
        await self.soon(tracker.record(of_two_benchmarks(job, 0.25, 6)))
        found = await self.runs_of(tracker, job)
        assert found != earlier, f"the run after a metric of the second benchmark had changed: {found}"

    async def test_metrics_are_recorded_with_all_of_their_digits(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        await self.soon(tracker.record(with_score(job, 0.75)))
        earlier = await self.runs_of(tracker, job)
        await self.soon(tracker.record(with_score(job, 0.7500001)))
        found = await self.runs_of(tracker, job)
        assert found != earlier, f"the run has a score of 0.75 after it had changed to 0.7500001: {found}"

    async def test_runs_show_whether_the_job_was_cancelled(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        await self.soon(tracker.record(job))
        completed = await self.runs_of(tracker, job)
        await self.soon(tracker.record(with_changes(job, state=State.CANCELLED, cancelled=True)))
        found = await self.runs_of(tracker, job)
        assert found != completed, f"the runs of a completed and of a cancelled job: {found}"

    async def test_every_ended_job_can_be_recorded(self, tracker: Tracker) -> None:
        """Also one that failed, was cancelled, has no results, or metrics with unusual names."""
        finished = await self.a_tracked_job(tracker)
        (benchmark,) = finished.benchmarks
        odd = ResultRecord(metrics={"acc,none": 0.5, "pass@1": 1.0, "F1 (macro) %": 0.25, "å": 2.0})
        for result in (None, odd):
            for state in (State.COMPLETED, State.FAILED, State.CANCELLED, State.PARTIALLY_FAILED):
                job = with_changes(
                    finished,
                    id=str(uuid4()),
                    state=state,
                    test=None,
                    benchmarks=(msgspec.structs.replace(benchmark, result=result),),
                )
                try:
                    outcome = await self.soon(tracker.record(job))
                except Exception as error:
                    raise AssertionError(
                        f"record() of a job that is {state}, with {result}: {error!r}"
                    ) from error
                assert outcome.reference in await self.runs_of(tracker, job), (
                    f"the run of a job that is {state}"
                )

    async def test_concurrent_records_are_not_mixed_up(self, tracker: Tracker) -> None:
        first = await self.a_tracked_job(tracker, name := f"experiment-{uuid4()}")
        jobs = [first, *[await self.a_tracked_job(tracker, name) for _ in range(4)]]
        jobs = [with_score(job, number / 8) for number, job in enumerate(jobs)]
        await asyncio.gather(*(self.soon(tracker.record(job)) for job in jobs))
        together = await self.runs_of(tracker, first)
        for job in jobs:
            await self.soon(tracker.record(job))
        alone = await self.runs_of(tracker, first)
        assert together == alone, (
            f"runs of jobs that were recorded at once, and one by one: {together}, {alone}"
        )

    async def test_an_outage_during_a_record_leaves_no_half(self, tracker: Tracker) -> None:
        for turns in TURNS:
            job = await self.a_tracked_job(tracker)
            task = asyncio.ensure_future(self.soon(tracker.record(job)))
            for _ in range(turns):
                await asyncio.sleep(0)
            with self.unavailable():
                (result,) = await asyncio.gather(task, return_exceptions=True)
            refused = isinstance(result, ExportRefused)
            assert not refused, f"refused for good while the server was down after {turns} turns: {result}"
            found = await self.runs_of(tracker, job)
            outcome = await self.soon(tracker.record(job))
            complete = await self.runs_of(tracker, job)
            if not isinstance(result, BaseException):
                assert found == complete, (
                    f"record() reported success during an outage after {turns} turns: {found}"
                )
            assert list(complete) == [outcome.reference], (
                f"runs after an outage after {turns} turns: {complete}"
            )

    async def test_ending_the_run_of_one_job_leaves_the_others(self, tracker: Tracker) -> None:
        first = await self.a_tracked_job(tracker, name := f"experiment-{uuid4()}")
        other = await self.a_tracked_job(tracker, name)
        for turns in TURNS:
            await self.cancelled_after(tracker.record(first), turns)
            before = await self.runs_of(tracker, first)
            await self.soon(tracker.end_run(other))
            after = await self.runs_of(tracker, first)
            assert after == before, (
                f"end_run() of a job has changed the run of another one: {before}, {after}"
            )
