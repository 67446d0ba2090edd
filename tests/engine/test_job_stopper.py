"""Stops of a server that does not supervise the job, and launches that a former leader left under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from evalhub_server.domain import transitions
from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.engine import job_stopper
from evalhub_server.engine.abandoned_launches import AbandonedLaunches, Launch
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_stopper import JobStopper
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import RuntimeUnavailable, StorageUnavailable
from evalhub_server.plugins import BenchmarkRun, Handle, LogOptions, Runtime
from evalhub_server.plugins.sections import Timespan
from evalhub_server.settings import SupervisorSettings
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage


class Cluster(Runtime):
    """Workloads by job and index, which any server can find and stop. ``faults`` are raised by ``stop``, one per call."""

    name = "cluster"
    provider_key = "cluster"

    def __init__(self) -> None:
        self.running: set[tuple[str, int]] = set()
        self.removed: list[str] = []
        self.faults: list[Exception] = []

    async def check(self) -> None:
        return

    async def launch(self, run: BenchmarkRun) -> Handle:
        self.running.add((run.spec.id, run.spec.benchmark_index))
        return {"job": run.spec.id, "index": run.spec.benchmark_index}

    async def find(self, run: BenchmarkRun) -> Handle | None:
        return await self.launch(run) if (run.spec.id, run.spec.benchmark_index) in self.running else None

    async def wait(self, handle: Handle) -> Exit:
        await asyncio.Event().wait()
        raise AssertionError("it never ends by itself")

    async def stop(self, handle: Handle, grace_s: float) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.running.discard((handle["job"], handle["index"]))

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        yield b""

    async def remove(self, job_id: str, tenant: str) -> None:
        self.removed.append(job_id)


class Interrupted(MemoryStorage):
    """Its first reads of jobs fail."""

    failing = 0

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        if self.failing:
            self.failing -= 1
            raise StorageUnavailable("away")
        return await super().get_job(job_id, tenant)


class World:
    """A follower. ``leader``: whether there is a leader, which is played by the test."""

    def __init__(self) -> None:
        self.storage, self.cluster, self.leader = Interrupted(), Cluster(), True
        self.store = JobStore(self.storage)
        self.runs = RunBuilder("http://127.0.0.1:1", "cluster", [])
        settings = SupervisorSettings(stop_grace=Timespan(0))
        self.supervisor = Supervisor(self.store, self.cluster, self.runs, settings, utc_now)
        self.stopper = JobStopper(
            self.store, self.supervisor, self.cluster, self.runs, 0.0, self._leader_exists
        )

    async def _leader_exists(self) -> bool:
        return self.leader

    async def launched(self, *, handle: bool = True) -> JobRecord:
        """A job whose benchmark runs; without ``handle``, that is not stored yet."""
        job = await self.store.add(a_job())
        job = await self.store.update(
            job.id, None, lambda job: transitions.launch_intended(job, 0, utc_now(), runtime="cluster")
        )
        found = await self.cluster.launch(self.runs(job, 0))
        if not handle:
            return job
        return await self.store.update(
            job.id, None, lambda job: transitions.launched(job, 0, found, runtime="cluster")
        )

    async def cancel(self, job: JobRecord) -> JobRecord:
        return await self.store.update(job.id, None, lambda job: transitions.cancel(job, utc_now()))

    async def exit(self, job: JobRecord) -> None:
        await self.store.update(
            job.id, None, lambda job: transitions.exited(job, 0, Exit(signal="SIGTERM"), None, utc_now())
        )


@pytest.fixture
def world() -> World:
    return World()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_follower_waits_until_the_leader_has_stopped_the_workloads(world: World):
    job = await world.cancel(await world.launched())
    world.storage.failing = 1
    stopping = asyncio.create_task(world.stopper.stop_job(job))
    await until(lambda: world.store.feed.followers)
    assert not stopping.done()
    await world.exit(job)
    assert await stopping == []
    assert world.cluster.running, "the leader stops it"


@pytest.mark.parametrize("handle", [False, True])
async def test_without_a_leader_a_follower_stops_the_workloads_itself(world: World, handle: bool):
    world.leader = False
    job = await world.cancel(await world.launched(handle=handle))
    assert await world.stopper.stop_job(job) == []
    assert world.cluster.running == set()


async def test_what_a_follower_fails_to_stop_is_left_to_the_next_leader(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(job_stopper, "STOP_TIMEOUT_S", 0.05)
    world.leader = False
    world.cluster.faults = [RuntimeUnavailable("away"), RuntimeUnavailable("away")]
    job = await world.cancel(await world.launched())
    assert await world.stopper.stop_job(job) == [None]


async def test_a_server_that_becomes_the_leader_meanwhile_stops_the_workloads_as_such(world: World):
    job = await world.cancel(await world.launched())
    stopping = asyncio.create_task(world.stopper.stop_job(job))
    await until(lambda: world.store.feed.followers)
    await world.supervisor.start()
    await until(lambda: not world.cluster.running)
    await world.exit(job)
    assert await stopping == []
    await world.supervisor.close()


async def test_a_job_that_is_deleted_meanwhile_has_nothing_to_stop(world: World):
    job = await world.cancel(await world.launched())
    await world.store.delete(job, None)
    assert await world.stopper.stop_job(job) == []


async def test_a_lingering_workload_of_an_ended_job_is_stopped_on_any_server(world: World):
    job = await world.launched()
    assert await world.stopper.stop_job(job) == []
    assert world.cluster.running == set()


async def test_without_storage_only_the_server_that_supervises_a_job_stops_it(world: World):
    job = await world.launched()
    assert not world.stopper.supervises
    assert not await world.stopper.stop_unstored(job.id)
    await world.supervisor.start()
    assert world.stopper.supervises
    known = world.stopper.launched_job(job.id)
    assert known is not None
    stopping = asyncio.create_task(world.stopper.stop_unstored(job.id))
    await until(lambda: not world.cluster.running)
    assert await stopping
    await world.supervisor.close()


# --- Launches that were under way when the lead was lost ---


@pytest.fixture
async def abandoned(world: World) -> AsyncIterator[AbandonedLaunches]:
    watching = AbandonedLaunches(world.store, world.cluster, world.runs, check_s=0.005)
    yield watching
    await watching.close()


async def test_what_a_launch_creates_for_a_deleted_job_is_stopped_and_removed(
    world: World, abandoned: AbandonedLaunches
):
    job = await world.launched(handle=False)
    await world.store.delete(job, None)
    world.storage.failing = 1
    abandoned.add([Launch(job, 0)])
    await until(lambda: world.cluster.removed == [job.id])
    assert world.cluster.running == set()


async def test_a_launch_that_the_next_leader_continues_is_left_to_it(
    world: World, abandoned: AbandonedLaunches
):
    job = await world.launched(handle=False)
    abandoned.add([Launch(job, 0)])
    await asyncio.sleep(0)
    await world.store.update(
        job.id, None, lambda job: transitions.launched(job, 0, {"job": job.id}, runtime="cluster")
    )
    await until(lambda: not abandoned.watching)
    assert world.cluster.running == {(job.id, 0)}


async def test_a_launch_that_the_next_leader_has_given_up_is_stopped(
    world: World, abandoned: AbandonedLaunches
):
    job = await world.cancel(await world.launched(handle=False))
    abandoned.add([Launch(job, 0)])
    await world.exit(job)
    await until(lambda: not abandoned.watching)
    assert (world.cluster.running, world.cluster.removed) == (set(), [])


async def test_an_unexpected_error_ends_the_watch(world: World, abandoned: AbandonedLaunches):
    job = await world.launched(handle=False)
    await world.store.delete(job, None)
    world.cluster.faults = [ValueError("a bug")]
    abandoned.add([Launch(job, 0)])
    await until(lambda: not abandoned.watching)
    assert world.cluster.running == {(job.id, 0)}
