"""Leadership of several servers over one storage in memory, whose clocks the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from evalhub_server.domain.record import with_changes
from evalhub_server.engine import leadership
from evalhub_server.engine.change_follower import ChangeFollower
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.leader_store import LeaderStore
from evalhub_server.engine.leadership import LEASE_S, Leadership, SingleServer
from evalhub_server.engine.server_state import Role
from evalhub_server.errors import LeadershipLost, StartupError, StorageUnavailable
from evalhub_server.plugins.shared_storage import Lease
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.shared_memory import SharedMemory, SharedMemoryStorage

QUICK_S = 0.2
"""A short lease makes renewals and attempts frequent; it expires only when a test sets the clocks."""


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


class Clock:
    """Seconds, the same for all servers and their storage unless a test separates them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Parts:
    """Records what is done with the parts of a leader. ``faults`` are raised by ``open``, one per call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.faults: list[Exception] = []
        self.faults_of_abandon: list[Exception] = []
        self.halted = False
        self.closes = asyncio.Event()
        self.closes.set()

    async def open(self) -> None:
        self.halted = False
        if self.faults:
            raise self.faults.pop(0)
        self.calls.append("open")

    def begin_close(self) -> None:
        return

    async def close(self) -> None:
        await self.closes.wait()
        self.calls.append("close")

    def halt(self) -> None:
        self.halted = True

    async def abandon(self) -> None:
        assert self.halted
        if self.faults_of_abandon:
            raise self.faults_of_abandon.pop(0)
        self.calls.append("abandon")


class Server:
    """One of several servers, with clocks of its own if ``clock`` is given."""

    def __init__(
        self, memory: SharedMemory, clock: Clock, storage: type[SharedMemoryStorage] = SharedMemoryStorage
    ) -> None:
        self.storage = storage(memory)
        self.store = JobStore(self.storage)
        self.leader_store = LeaderStore(self.storage, None, self.store)
        self.parts, self.roles = Parts(), list[Role]()
        self.leadership = Leadership(
            self.storage, self.leader_store, self.parts, self.roles.append, lease_s=QUICK_S, clock=clock
        )
        self.follower = ChangeFollower(
            self.storage, self.store.changes, utc_now, lambda: None, self.leadership.wake
        )

    @property
    def role(self) -> Role:
        return self.leadership.role

    async def start(self) -> None:
        await self.follower.start()
        await self.leadership.start()

    async def close(self) -> None:
        await self.leadership.close()
        await self.follower.close()


@asynccontextmanager
async def two_servers(clock: Clock, own_clock: Clock | None = None) -> AsyncGenerator[tuple[Server, Server]]:
    """A leader and a follower. ``own_clock`` is that of the servers, if not the storage's."""
    memory = SharedMemory(clock)
    first, second = (Server(memory, own_clock or clock) for _ in range(2))
    try:
        await first.start()
        await second.start()
        assert (first.role, second.role) == (Role.LEADER, Role.FOLLOWER)
        yield first, second
    finally:
        await first.close()
        await second.close()


async def test_a_server_that_stops_hands_over():
    async with two_servers(Clock()) as (first, second):
        assert (first.parts.calls, second.parts.calls) == (["open"], [])
        await first.close()
        await until(lambda: second.role is Role.LEADER)
        assert (first.parts.calls, second.parts.calls) == (["open", "close"], ["open"])
        assert Role.OUSTED not in first.roles


async def test_a_server_hands_over_even_if_its_parts_do_not_close(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leadership, "CLOSE_S", 0.05)
    async with two_servers(Clock()) as (first, second):
        first.parts.closes.clear()
        await first.close()
        assert first.parts.halted
        await until(lambda: second.role is Role.LEADER)
        with pytest.raises(LeadershipLost):
            first.leader_store.check_leading()
        first.parts.closes.set()


async def test_a_leader_without_connection_is_ousted_before_another_one_leads_and_follows_later():
    clock = Clock()
    async with two_servers(clock) as (first, second):
        first.storage.cut()
        clock.now += QUICK_S * (LEASE_S - 0.5) / LEASE_S  # within the margin: the lease is still valid
        await until(lambda: first.role is Role.OUSTED)
        assert (first.parts.calls, second.role) == (["open", "abandon"], Role.FOLLOWER)
        clock.now += QUICK_S
        await until(lambda: second.role is Role.LEADER)
        with pytest.raises(LeadershipLost):
            first.leadership.check()
        first.storage.cut(False)
        await until(lambda: first.role is Role.FOLLOWER)
        await second.close()
        await until(lambda: first.role is Role.LEADER)
        assert first.parts.calls == ["open", "abandon", "open"]


async def test_a_server_that_was_suspended_does_nothing_as_leader():
    clock = Clock()
    async with two_servers(clock) as (first, _):
        clock.now += QUICK_S * 2
        with pytest.raises(LeadershipLost):  # before its timers notice
            first.leader_store.check_leading()
        await until(lambda: Role.OUSTED in first.roles)
        assert first.parts.calls[:2] == ["open", "abandon"]


async def test_a_fenced_write_ousts_a_leader_that_does_not_know_of_its_successor():
    storage_clock = Clock()
    async with two_servers(storage_clock, own_clock=Clock()) as (first, second):
        job = await first.leader_store.add(a_job())
        storage_clock.now += QUICK_S * 2
        with pytest.raises(LeadershipLost):
            await first.leader_store.update(job.id, None, lambda job: with_changes(job, pinned=True))
        await until(lambda: Role.OUSTED in first.roles)
        assert not (await second.store.get(job.id, None)).progress.pinned
        assert first.parts.calls[:2] == ["open", "abandon"]


async def test_a_first_start_fails_with_what_the_leader_cannot_open():
    server = Server(SharedMemory(), Clock())
    server.parts.faults = [StartupError("a file is wrong")]
    with pytest.raises(StartupError, match="a file is wrong"):
        await server.start()
    assert server.parts.calls == ["abandon"]
    assert await server.storage.current_lease() is None
    await server.close()


async def test_a_takeover_that_fails_is_left_to_others_and_repeated(monkeypatch: pytest.MonkeyPatch):
    async with two_servers(Clock()) as (first, second):
        second.parts.faults = [StorageUnavailable("away"), RuntimeError("a bug")]
        await first.close()
        await until(lambda: second.role is Role.LEADER)
        assert second.parts.calls == ["abandon", "abandon", "open"]


async def test_a_failure_of_the_parts_does_not_end_the_leadership():
    clock = Clock()
    async with two_servers(clock) as (first, _):
        first.parts.faults_of_abandon = [RuntimeError("a bug")]
        clock.now += QUICK_S * 2
        await until(lambda: Role.OUSTED in first.roles)
        await until(lambda: first.role in (Role.FOLLOWER, Role.LEADER))


async def test_leader_exists_is_true_if_it_cannot_be_found_out():
    async with two_servers(Clock()) as (first, second):
        assert await second.leadership.leader_exists()
        second.storage.cut()
        assert await second.leadership.leader_exists()
        second.storage.cut(False)
        await first.close()
        await second.close()
        assert not await second.leadership.leader_exists()


async def test_a_single_server_leads_without_a_lease():
    parts = Parts()
    server = SingleServer(parts)
    await server.start()
    server.step_down()
    await server.close()
    assert (parts.calls, server.role, await server.leader_exists()) == (["open", "close"], None, False)


class Faulty(SharedMemoryStorage):
    """Raises ``faults``, one per call about the lease."""

    faults: tuple[Exception, ...] = ()

    def _raise(self) -> None:
        if self.faults:
            fault, *rest = self.faults
            self.faults = tuple(rest)
            raise fault

    async def acquire_lease(self, duration_s: float) -> Lease | None:
        self._raise()
        return await super().acquire_lease(duration_s)

    async def renew_lease(self, lease: Lease, duration_s: float) -> Lease:
        self._raise()
        return await super().renew_lease(lease, duration_s)

    async def release_lease(self, lease: Lease) -> None:
        self._raise()
        await super().release_lease(lease)


async def test_calls_about_the_lease_are_repeated_whatever_they_raise():
    server = Server(SharedMemory(Clock()), Clock(), Faulty)
    storage = server.storage
    assert isinstance(storage, Faulty)
    storage.faults = (StorageUnavailable("away"), RuntimeError("a bug"))
    await server.leadership.start()
    assert server.role is Role.LEADER
    storage.faults = (StorageUnavailable("away"), RuntimeError("a bug"))
    await until(lambda: not storage.faults)
    assert server.role is Role.LEADER
    storage.faults = tuple([StorageUnavailable("away")] * 100)
    await server.leadership.close()
    assert server.parts.calls == ["open", "close"]
