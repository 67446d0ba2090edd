"""The contract suite for trackers.

Subclass :class:`TrackerContract` in a test module, and define how to create the tracker and how to look into its server::

    class TestMyTracker(TrackerContract):
        secrets = ("token-of-the-tracking-server",)

        def make_tracker(self, directory: Path) -> Tracker:
            return MyTracker(self.server.url)

        async def runs(self, experiment: TrackedExperiment, tenant: str) -> Mapping[str, object]:
            return {run.id: run.metrics for run in self.server.runs(experiment.id)}

        ...

The tracking server should be a real one, or a small server that behaves like it; start it in a fixture of the class.
Requires pytest and pytest-asyncio (in any mode).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast
from uuid import uuid4

import msgspec
import pytest
from structlog.testing import capture_logs

from evalhub_server.domain.record import (
    ExportOutcome,
    OutboxEntry,
    with_changes,
)
from evalhub_server.errors import ApiError, ExportRefused
from evalhub_server.models.common import State
from evalhub_server.models.job import Model
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.testing.builders import a_finished_job
from evalhub_server.testing.contract import TURNS, check_hidden
from evalhub_server.testing.exporter_case import JOB_SECRET, with_score
from evalhub_server.testing.tracker_case import names_experiment
from evalhub_server.testing.tracker_outcome_contract import TrackerOutcomeContract


@pytest.mark.asyncio
class TrackerContract(TrackerOutcomeContract):
    """The tests of a tracker. Subclass it under a name that pytest collects (``Test…``)."""

    # --- attributes, check and close

    async def test_it_has_a_name(self, tracker: Tracker) -> None:
        assert tracker.name, "its attribute name is empty"

    async def test_it_starts_while_the_tracking_server_is_unavailable(self, tmp_path: Path) -> None:
        tracker = self.make_tracker(tmp_path)
        with self.unavailable():
            try:
                await self.soon(tracker.check())
            except Exception as error:
                raise AssertionError(
                    f"check() failed although only the server is unavailable: {error!r}"
                ) from error
        await self.soon(tracker.close())

    async def test_closing_is_idempotent(self, tracker: Tracker) -> None:
        await self.soon(tracker.record(await self.a_tracked_job(tracker)))
        await self.soon(tracker.close())
        await self.soon(tracker.close())

    async def test_the_environment_of_adapters_has_names_and_texts(self, tracker: Tracker) -> None:
        for tenant in ("", "team-a"):
            found = cast("dict[object, object]", dict(tracker.environment(tenant)))
            assert all(isinstance(name, str) and name.isidentifier() for name in found), (
                f"names: {list(found)}"
            )
            assert all(isinstance(value, str) for value in found.values()), "a value is not a text"
            assert found == dict(tracker.environment(tenant)), "two calls of environment()"

    # --- experiments

    async def test_an_experiment_is_found_again(self, tracker: Tracker) -> None:
        name = f"experiment-{uuid4()}"
        first, second = await self.resolve(tracker, name), await self.resolve(tracker, name)
        assert first.id, "the experiment has no id"
        assert first == second, "two jobs with one experiment name are in different experiments"

    async def test_an_experiment_is_found_after_a_restart(self, tracker: Tracker, tmp_path: Path) -> None:
        name = f"experiment-{uuid4()}"
        first = await self.resolve(tracker, name)
        again = await self.restarted(tracker, tmp_path)
        try:
            assert await self.resolve(again, name) == first, "a restart creates another experiment"
        finally:
            await self.soon(again.close())

    async def test_concurrent_jobs_of_a_new_experiment_share_it(self, tracker: Tracker) -> None:
        name = f"experiment-{uuid4()}"
        found = await asyncio.gather(*(self.resolve(tracker, name) for _ in range(8)))
        assert len({each.id for each in found}) == 1, f"experiments with one name: {found}"

    async def test_different_names_are_different_experiments(self, tracker: Tracker) -> None:
        base = f"experiment-{uuid4()}"
        names = [base, f"{base}-2", f"a {base}", f"{base} 'é' 100%/\\\"x\""]
        found = {name: (await self.resolve(tracker, name)).id for name in names}
        assert len(set(found.values())) == len(names), f"experiments by name: {found}"

    async def test_a_cancelled_search_for_an_experiment_can_be_repeated(self, tracker: Tracker) -> None:
        for turns in TURNS:
            request = names_experiment(f"experiment-{uuid4()}")
            await self.cancelled_after(tracker.resolve_experiment(request, str(uuid4()), ""), turns)
            found = [await self.soon(tracker.resolve_experiment(request, str(uuid4()), "")) for _ in "12"]
            assert found[0] == found[1], (
                f"experiments after a call was cancelled after {turns} turns: {found}"
            )

    async def test_a_job_is_refused_while_the_tracking_server_is_unavailable(self, tracker: Tracker) -> None:
        request = names_experiment(f"experiment-{uuid4()}")
        with self.unavailable():
            (result,) = await asyncio.gather(
                self.soon(tracker.resolve_experiment(request, str(uuid4()), "")), return_exceptions=True
            )
        assert isinstance(result, ApiError), f"resolve_experiment() must raise ApiError, not {result!r}"
        assert 400 <= result.status < 600, f"HTTP status of the response for the client: {result.status}"
        assert result.code, "the response for the client has no code"
        assert result.message, "the response for the client has no text"

    # --- runs

    async def test_a_finished_job_becomes_a_run(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        assert await self.runs_of(tracker, job) == {}, "a new experiment has runs"
        outcome = await self.soon(tracker.record(job))
        assert list(await self.runs_of(tracker, job)) == [outcome.reference], (
            "runs, and the outcome's reference"
        )

    async def test_an_outcome_can_be_stored(self, tracker: Tracker) -> None:
        outcome = await self.soon(tracker.record(await self.a_tracked_job(tracker)))
        stored = msgspec.json.decode(msgspec.json.encode(outcome), type=ExportOutcome)
        assert stored == outcome, "an outcome differs after it was stored as JSON"

    async def test_recording_twice_leaves_one_run(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        first = await self.soon(tracker.record(job))
        once = await self.runs_of(tracker, job)
        second = await self.soon(tracker.record(job))
        assert await self.runs_of(tracker, job) == once, "a job that is recorded twice"
        assert second.reference == first.reference

    async def test_a_job_that_another_server_records_again_is_one_run(
        self, tracker: Tracker, tmp_path: Path
    ) -> None:
        job = await self.a_tracked_job(tracker)
        first = await self.soon(tracker.record(job))
        once = await self.runs_of(tracker, job)
        again = await self.restarted(tracker, tmp_path)
        try:
            second = await self.soon(again.record(job))
            assert await self.runs_of(again, job) == once, "a job that is recorded again after a restart"
            assert second.reference == first.reference
        finally:
            await self.soon(again.close())

    async def test_a_cancelled_record_can_be_repeated(self, tracker: Tracker) -> None:
        for turns in TURNS:
            job = await self.a_tracked_job(tracker)
            await self.cancelled_after(tracker.record(job), turns)
            outcome = await self.soon(tracker.record(job))
            found = await self.runs_of(tracker, job)
            assert list(found) == [outcome.reference], f"runs after a call was cancelled after {turns} turns"
            still = list(await self.soon(self.open_runs(job.progress.experiments[tracker.name], job.tenant)))
            assert not still, f"a recorded job has runs that are still open: {still}"

    async def test_jobs_of_one_experiment_have_runs_of_their_own(self, tracker: Tracker) -> None:
        first = await self.a_tracked_job(tracker, name := f"experiment-{uuid4()}")
        jobs = [first, *[await self.a_tracked_job(tracker, name) for _ in range(3)]]
        outcomes = await asyncio.gather(*(self.soon(tracker.record(job)) for job in jobs))
        references = [outcome.reference for outcome in outcomes]
        assert len(set(references)) == len(jobs), f"references of {len(jobs)} jobs: {references}"
        assert set(await self.runs_of(tracker, first)) == set(references)

    async def test_jobs_of_different_tenants_have_runs_of_their_own(self, tracker: Tracker) -> None:
        name = f"experiment-{uuid4()}"
        jobs = [await self.a_tracked_job(tracker, name, tenant) for tenant in ("team-a", "team-b")]
        for job in jobs:
            outcome = await self.soon(tracker.record(job))
            assert outcome.reference in await self.runs_of(tracker, job), f"the run of {job.tenant}'s job"

    async def test_a_new_outcome_updates_the_run(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        first = await self.soon(tracker.record(job))
        earlier = await self.runs_of(tracker, job)
        second = await self.soon(tracker.record(with_score(job, 0.25)))
        found = await self.runs_of(tracker, job)
        assert (second.reference, list(found)) == (first.reference, list(earlier)), "the run of a changed job"
        assert found != earlier, "the run still has only the earlier outcome of a job that changed"

    async def test_runs_show_whether_the_job_failed(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        await self.soon(tracker.record(job))
        completed = await self.runs_of(tracker, job)
        await self.soon(tracker.record(with_changes(job, state=State.FAILED)))
        assert await self.runs_of(tracker, job) != completed, "the runs of a completed and of a failed job"

    # --- failures

    async def test_an_unavailable_tracking_server_is_retried(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        with self.unavailable():
            error = await self.error_of(tracker, job)
        assert not isinstance(error, ExportRefused), f"refused for good while the server was down: {error}"
        assert str(error), f"{type(error).__name__} has no text for the job's results"
        outcome = await self.soon(tracker.record(job))
        assert list(await self.runs_of(tracker, job)) == [outcome.reference], "runs after an outage"

    async def test_a_job_without_an_experiment_is_refused(self, tracker: Tracker) -> None:
        error = await self.error_of(tracker, a_finished_job(id=str(uuid4())))
        assert isinstance(error, ExportRefused), (
            f"the server would retry a job without an experiment: {error!r}"
        )

    async def test_a_job_of_a_deleted_experiment_is_refused(self, tracker: Tracker) -> None:
        if not self.can_delete_experiments:
            pytest.skip("can_delete_experiments = False")
        job = await self.a_tracked_job(tracker)
        await self.soon(self.delete_experiment(job.progress.experiments[tracker.name], job.tenant))
        error = await self.error_of(tracker, job)
        assert isinstance(error, ExportRefused), f"the server would retry at a deleted experiment: {error!r}"
        assert str(error), "ExportRefused has no text for the job's results"

    # --- after attempts that were cut short

    async def test_settling_a_recorded_job_leaves_its_run(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        outcome = await self.soon(tracker.record(job))
        recorded = await self.runs_of(tracker, job)
        entry = OutboxEntry(
            kind="tracker",
            name=tracker.name,
            event="run",
            since=job.progress.updated_at,
            state="succeeded",
            outcome=outcome,
        )
        for _ in range(2):
            await self.soon(tracker.settle(with_changes(job, outbox=(entry,))))
        assert await self.runs_of(tracker, job) == recorded, "settle() changed the run of a recorded job"

    # --- runs of deleted jobs

    async def test_ending_the_run_of_a_job_creates_nothing(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        for _ in range(2):
            await self.soon(tracker.end_run(job))
        assert await self.runs_of(tracker, job) == {}, "end_run() of a job that was never recorded"
        await self.soon(tracker.end_run(a_finished_job(id=str(uuid4()))))

    async def test_ending_the_run_of_a_recorded_job_leaves_it(self, tracker: Tracker) -> None:
        job = await self.a_tracked_job(tracker)
        await self.soon(tracker.record(job))
        recorded = await self.runs_of(tracker, job)
        await self.soon(tracker.end_run(job))
        assert await self.runs_of(tracker, job) == recorded, "end_run() changed a run that was complete"

    async def test_no_run_of_a_deleted_job_stays_open(self, tracker: Tracker) -> None:
        for turns in TURNS:
            job = await self.a_tracked_job(tracker)
            await self.cancelled_after(tracker.record(job), turns)
            await self.soon(tracker.end_run(job))
            still = list(await self.soon(self.open_runs(job.progress.experiments[tracker.name], job.tenant)))
            assert not still, f"runs left open when record() was cancelled after {turns} turns: {still}"

    # --- secrets

    async def test_secrets_are_not_shown(self, tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
        job = await self.a_tracked_job(tracker)
        model = Model(url=f"https://user:{JOB_SECRET}@models.example.com/v1", name="a-model")
        job = with_changes(job, request=msgspec.structs.replace(job.request, model=model))
        with capture_logs() as logged:
            with self.unavailable():
                failure = await self.error_of(tracker, job)
                with pytest.raises(ApiError) as refusal:
                    await self.resolve(tracker, "any")
            outcome = await self.soon(tracker.record(job))
        check_hidden(
            (*self.secrets, JOB_SECRET),
            the_tracker=tracker,
            the_error_of_an_outage=failure,
            the_response_to_the_client=refusal.value.message,
            an_outcome=outcome,
            an_experiment=job.progress.experiments[tracker.name],
            the_log=(logged, caplog.text),
            the_runs=await self.runs_of(tracker, job),
        )
