"""What the tests of trackers share: flags, the tracking server, a tracker for each test, and jobs in experiments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
import pytest_asyncio

from evalhub_server.domain.record import (
    JobRecord,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.models.job import Experiment, JobRequest, Model
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.testing.builders import a_finished_job
from evalhub_server.testing.contract import Contract


def names_experiment(name: str) -> JobRequest:
    """Return the request of a job in that experiment."""
    return JobRequest(name="nightly", model=Model(name="a-model"), experiment=Experiment(name=name))


@pytest.mark.asyncio
class TrackerCase(Contract):
    """A base class of ``TrackerContract``."""

    can_delete_experiments = True
    """False if experiments of its server cannot be deleted; then :meth:`delete_experiment` is not needed."""

    secrets: Sequence[str] = ()
    """What it must not show: the secrets in its settings and in its server."""

    def make_tracker(self, directory: Path) -> Tracker:
        """Return a tracker of the test's tracking server. A second call stands for a restart of the server."""
        raise NotImplementedError("return the tracker")

    async def runs(self, experiment: TrackedExperiment, tenant: str) -> Mapping[str, object]:
        """Return the runs of an experiment, by the ids that :meth:`Tracker.record` returns.

        Values are what the tests compare: at least the state and the metrics of the run.
        """
        raise NotImplementedError("return the runs of the experiment")

    async def open_runs(self, experiment: TrackedExperiment, tenant: str) -> Collection[str]:
        """Return the ids of the runs that the tracking server shows as running. By default none, for servers without states."""
        return ()

    def unavailable(self) -> AbstractContextManager[object]:
        """Return a context manager within which the tracking server does not respond, or responds with temporary errors."""
        raise NotImplementedError("return a context manager that makes the tracking server unavailable")

    async def delete_experiment(self, experiment: TrackedExperiment, tenant: str) -> None:
        """Delete an experiment, as a user of the tracking server would."""
        raise NotImplementedError("delete the experiment, or set can_delete_experiments = False")

    @pytest_asyncio.fixture
    async def tracker(self, tmp_path: Path) -> AsyncGenerator[Tracker]:
        tracker = self.make_tracker(tmp_path)
        await self.soon(tracker.check())
        yield tracker
        await self.soon(tracker.close())

    async def resolve(self, tracker: Tracker, name: str, tenant: str = "") -> TrackedExperiment:
        request = names_experiment(name)
        return await self.soon(tracker.resolve_experiment(request, str(uuid4()), tenant))

    async def a_tracked_job(self, tracker: Tracker, name: str = "", tenant: str = "") -> JobRecord:
        """Return a finished job in an experiment, by default one of its own."""
        name = name or f"experiment-{uuid4()}"
        experiment = await self.resolve(tracker, name, tenant)
        # In a database of a test, numbers repeat; the tracking server may be shared by tests.
        job = a_finished_job(id=str(uuid4()), tenant=tenant, experiments={tracker.name: experiment})
        request = msgspec.structs.replace(job.request, experiment=Experiment(name=name))
        return with_changes(job, request=request)

    async def runs_of(self, tracker: Tracker, job: JobRecord) -> dict[str, object]:
        return dict(await self.soon(self.runs(job.progress.experiments[tracker.name], job.tenant)))

    async def restarted(self, tracker: Tracker, directory: Path) -> Tracker:
        await self.soon(tracker.close())
        again = self.make_tracker(directory)
        await self.soon(again.check())
        return again

    async def error_of(self, tracker: Tracker, job: JobRecord) -> Exception:
        """Return what recording the job raises."""
        try:
            outcome = await self.soon(tracker.record(job))
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001  any exception is a failure of the export
            return error
        raise AssertionError(f"record() reported success while it could not succeed: {outcome}")
