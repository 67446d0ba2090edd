"""Changes of other servers, over a storage in memory that two of them share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from evalhub_server.domain import transitions
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine import change_follower, committed_changes
from evalhub_server.engine.change_follower import ChangeFollower
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.errors import NotFound, StartupError, StorageError, StorageUnavailable
from evalhub_server.models.common import State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import a_job, a_provider
from evalhub_server.testing.shared_memory import SharedMemory, SharedMemoryStorage


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


class Server:
    """A store that follows another one's changes, and what its listeners get."""

    def __init__(self, memory: SharedMemory) -> None:
        self.storage = SharedMemoryStorage(memory)
        self.store = JobStore(self.storage)
        self.changes: list[JobChanged] = []
        self.own: list[JobChanged] = []
        self.resources = self.leases = 0
        self.store.listen(self.changes.append)
        self.store.changes.listen(self.own.append, own_only=True)
        self.follower = ChangeFollower(
            self.storage, self.store.changes, utc_now, self._on_resource, self._on_lease
        )

    def _on_resource(self) -> None:
        self.resources += 1

    def _on_lease(self) -> None:
        self.leases += 1

    def states(self, job: JobRecord) -> list[tuple[State | None, State | None]]:
        """The state of the job before and after each change."""
        return [
            (change.before and change.before.state, change.after and change.after.state)
            for change in self.changes
            if (change.after or change.before or job).id == job.id
        ]


@asynccontextmanager
async def two_servers(memory: SharedMemory | None = None) -> AsyncGenerator[tuple[Server, Server]]:
    memory = memory or SharedMemory()
    servers = Server(memory), Server(memory)
    for server in servers:
        await server.follower.start()
    try:
        yield servers
    finally:
        for server in servers:
            await server.follower.close()


async def report(server: Server, job: JobRecord, status: str) -> None:
    planned = job.plan.benchmarks[0]
    event = BenchmarkEvent(provider_id=planned.provider_id, id=planned.id, status=status)
    await server.store.update(job.id, None, lambda now: transitions.apply_event(now, event, utc_now()))


async def test_each_server_announces_the_changes_of_the_other_in_order():
    async with two_servers() as (one, two):
        job = await one.store.add(a_job())
        await until(lambda: two.states(job))
        await report(two, job, "running")
        await until(lambda: len(one.states(job)) == 2)
        await report(one, job, "completed")
        await until(lambda: len(two.states(job)) == 3)
        await two.store.delete(await two.store.get(job.id, None), None)
        await until(lambda: len(one.states(job)) == 4)
        expected = [
            (None, State.PENDING),
            (State.PENDING, State.RUNNING),
            (State.RUNNING, State.COMPLETED),
            (State.COMPLETED, None),
        ]
        assert one.states(job) == two.states(job) == expected
        assert [(len(each.own), each.resources) for each in (one, two)] == [(2, 0), (2, 0)]
        assert [each.changes[1].benchmarks[0][1].state for each in (one, two)] == [State.RUNNING] * 2


async def test_a_follower_knows_the_jobs_that_were_open_before_and_announces_none_of_them():
    memory = SharedMemory()
    job = a_job()
    await SharedMemoryStorage(memory).add_job(job)
    async with two_servers(memory) as (one, two):
        await report(one, job, "running")
        await until(lambda: two.changes)
        assert two.states(job) == [(State.PENDING, State.RUNNING)]


async def test_concurrent_changes_of_both_servers_are_announced_without_a_step_back():
    async with two_servers() as (one, two):
        job = await one.store.add(a_job())
        for number in range(20):
            server = one if number % 3 else two
            owner = f"round {number}"
            await asyncio.gather(
                server.store.update(
                    job.id, None, lambda job, owner=owner: with_changes(job, message=_said(job, owner))
                ),
                (two if server is one else one).store.update(
                    job.id, None, lambda job, owner=owner: with_changes(job, message=_said(job, f"{owner} b"))
                ),
            )
        final = await one.store.get(job.id, None)

        def arrived(server: Server) -> bool:
            return server.changes[-1].after == final

        await until(lambda: arrived(one) and arrived(two))
        for server in (one, two):
            for earlier, later in zip(server.changes, server.changes[1:], strict=False):
                assert earlier.after == later.before
            counts = [
                len((change.after or job).progress.message.message.split()) for change in server.changes
            ]
            assert counts == sorted(counts), "messages only grow"


def _said(job: JobRecord, text: str):
    from msgspec.structs import replace

    return replace(job.progress.message, message=f"{job.progress.message.message} {text}")


async def test_what_a_lost_connection_hid_is_announced_and_no_list_counts_as_current_meanwhile():
    async with two_servers() as (one, two):
        job = await one.store.add(a_job())
        await until(lambda: two.states(job))
        two.storage.cut()
        await until(lambda: two.store.feed.behind)
        assert two.store.feed.epoch != two.store.feed.epoch
        await report(one, job, "completed")
        two.storage.cut(False)
        await until(lambda: len(two.states(job)) == 2)
        await until(lambda: two.store.feed.epoch == two.store.feed.epoch)


async def test_after_a_gap_all_open_jobs_are_compared():
    memory = SharedMemory(max_changes=2)
    async with two_servers(memory) as (one, two):
        gone, ended, kept = [await one.store.add(a_job(id=each)) for each in ("gone", "ended", "kept")]
        await until(lambda: all(two.states(job) for job in (gone, ended, kept)))
        two.storage.cut()
        await until(lambda: two.store.feed.behind)
        await one.store.delete(gone, None)
        await report(one, ended, "completed")
        new = await one.store.add(a_job(id="new"))
        for number in range(5):
            await one.store.update(
                kept.id, None, lambda job, number=number: with_changes(job, message=_said(job, str(number)))
            )
        two.storage.cut(False)
        await until(lambda: two.states(gone)[-1] == (State.PENDING, None))
        await until(lambda: two.states(ended)[-1] == (State.PENDING, State.COMPLETED))
        await until(lambda: two.states(new) == [(None, State.PENDING)])
        await until(lambda: len(two.states(kept)) == 2)


async def test_an_ended_job_that_is_not_known_any_more_is_not_announced_as_new():
    memory = SharedMemory()
    job = a_job(created_at=utc_now().replace(year=2020))
    storage = SharedMemoryStorage(memory)
    await storage.add_job(job)
    planned = job.plan.benchmarks[0]
    event = BenchmarkEvent(provider_id=planned.provider_id, id=planned.id, status="completed")
    await storage.update_job(job.id, None, lambda now: transitions.apply_event(now, event, utc_now()))
    async with two_servers(memory) as (one, two):
        await one.store.update(job.id, None, lambda job: with_changes(job, pinned=True))
        await until(lambda: two.changes)
        assert two.states(job) == [(State.COMPLETED, State.COMPLETED)]
        await one.store.delete(await one.store.get(job.id, None), None)
        await until(lambda: two.states(job)[-1] == (State.COMPLETED, None))


async def test_changes_of_providers_and_of_the_lease_are_reported():
    async with two_servers() as (one, two):
        await one.storage.add_resource(a_provider())
        assert await one.storage.acquire_lease(60) is not None
        await until(lambda: (two.resources, two.leases) == (1, 1))


async def test_a_deletion_of_an_unknown_job_counts_as_a_change():
    memory = SharedMemory()
    async with two_servers(memory) as (one, two):
        job = a_job()
        await one.storage.add_job(job)
        await one.storage.delete_job(job.id, None)
        before = two.store.feed.position
        await until(lambda: two.store.feed.position > before or two.changes)
        try:
            await two.store.get(job.id, None)
        except NotFound:
            return
        raise AssertionError("the job is deleted")


class Faulty(SharedMemoryStorage):
    """Raises ``faults``, one per read of a job or of all open ones."""

    def __init__(self, memory: SharedMemory) -> None:
        super().__init__(memory)
        self.faults: list[Exception] = []

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        if self.faults:
            raise self.faults.pop(0)
        return await super().get_job(job_id, tenant)

    async def open_jobs(self) -> list[JobRecord]:
        if self.faults:
            raise self.faults.pop(0)
        return await super().open_jobs()


async def test_a_record_that_cannot_be_read_now_is_read_again_and_one_that_never_can_hinders_no_other():
    memory = SharedMemory()
    async with two_servers(memory) as (one, _):
        storage = Faulty(memory)
        store, seen = JobStore(storage), list[str]()
        store.listen(lambda change: seen.append(change.after.id if change.after else ""))
        follower = ChangeFollower(storage, store.changes, utc_now, lambda: None, lambda: None)
        storage.faults = [StorageUnavailable("away"), RuntimeError("a bug")]
        await follower.start()
        storage.faults = [StorageUnavailable("away")]
        await one.store.add(a_job(id="later"))
        await until(lambda: seen == ["later"])
        storage.faults = [StorageError("unreadable")]
        await one.store.add(a_job(id="never"))
        await until(lambda: not storage.faults)
        await one.store.add(a_job(id="next"))
        await until(lambda: seen == ["later", "next"])
        await follower.close()


async def test_a_start_without_a_connection_fails(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(change_follower, "START_TIMEOUT_S", 0.05)
    storage = SharedMemoryStorage(SharedMemory())
    storage.cut()
    store = JobStore(storage)
    follower = ChangeFollower(storage, store.changes, utc_now, lambda: None, lambda: None)
    with pytest.raises(StartupError, match="cannot be followed"):
        await follower.start()
    await follower.close()


async def test_only_the_latest_closed_jobs_are_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(committed_changes, "KEPT_CLOSED_JOBS", 1)
    async with two_servers() as (one, two):
        jobs = [await one.store.add(a_job(id=each)) for each in ("a", "b")]
        for job in jobs:
            await report(one, job, "completed")
        await until(
            lambda: all(two.states(job)[-1:] and two.states(job)[-1][1] is State.COMPLETED for job in jobs)
        )
        known = two.store.changes.known
        assert known is not None
        assert [known.get(job.id) is not None for job in jobs].count(True) == 1
        assert known.open_ids == []
