"""The experiments of a job: one per tracker, from its creation to the runs that trackers record."""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_common.durations import Timespan
from evalhub_server.domain.job_view import job_resource
from evalhub_server.engine.exports import ExportService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_stopper import JobStopper
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.open_runs import OpenRuns
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.models.common import State
from evalhub_server.models.job import BenchmarkRef, Experiment, JobRequest, Model
from evalhub_server.plugins import ExportOutcome, JobRecord, TrackedExperiment, Tracker, with_changes
from evalhub_server.settings import SampleSettings, SupervisorSettings
from evalhub_server.testing.builders import EPOCH, a_job, a_provider
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage


class Notebook(Tracker):
    """Resolves each experiment to an id with its own name in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def check(self) -> None:
        return

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        return TrackedExperiment(id=f"in {self.name}")

    def environment(self, tenant: str) -> Mapping[str, str]:
        return {}

    async def record(self, job: JobRecord) -> ExportOutcome:
        return ExportOutcome(reference=job.progress.experiments[self.name].id)


async def no_leader() -> bool:
    return False


async def created(*trackers: Tracker) -> JobRecord:
    """Return the job that a request with an experiment creates."""
    storage, runtime = MemoryStorage(), EchoRuntime()
    await storage.add_resource(a_provider(id="provider-a", owner="system"))
    store = JobStore(storage)
    runs = RunBuilder("http://127.0.0.1:1", runtime.provider_key, trackers)
    supervisor = Supervisor(store, runtime, runs, SupervisorSettings(stop_grace=Timespan(0)), lambda: EPOCH)
    resources = ResourceService(
        ResourceStore(storage), lambda: EPOCH, lambda: "r-1", 10**6, commands_allowed=True
    )
    samples = SampleCollector(store, runtime, SampleStore(None, SampleSettings()))
    exports = ExportService(store, {}, lambda _kind, _name: True, OpenRuns(trackers))
    stopper = JobStopper(store, supervisor, runtime, runs, 0.0, no_leader)
    jobs = JobService(
        store,
        supervisor,
        runtime,
        resources,
        trackers,
        lambda: EPOCH,
        lambda: "job-1",
        exports,
        samples,
        stopper,
    )
    request = JobRequest(
        name="nightly",
        model=Model(url="http://127.0.0.1:1/v1", name="m"),
        benchmarks=(BenchmarkRef(id="bench-0", provider_id="provider-a"),),
        experiment=Experiment(name="e"),
    )
    try:
        return await jobs.create(request, Identity())
    finally:
        await supervisor.close()


async def test_each_tracker_has_its_own_experiment_and_clients_see_the_first() -> None:
    job = await created(Notebook("one"), Notebook("two"))
    assert job.progress.experiments == {
        "one": TrackedExperiment(id="in one"),
        "two": TrackedExperiment(id="in two"),
    }
    assert job_resource(job).resource.mlflow_experiment_id == "in one"


async def test_a_finished_job_becomes_pending_for_the_trackers_in_which_it_has_an_experiment() -> None:
    targets = ExportTargets([Notebook(name) for name in ("one", "two", "three")])
    job = a_job(experiments={name: TrackedExperiment(id=f"in {name}") for name in ("one", "two")})
    ended = with_changes(job, state=State.COMPLETED)
    pending = targets.pending_exports(job, ended)
    assert [(each.kind, each.name) for each in pending] == [("tracker", "one"), ("tracker", "two")]
