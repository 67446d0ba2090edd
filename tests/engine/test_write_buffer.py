"""Job changes while the storage is unavailable."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from evalhub_common.backoff import Backoff
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine import write_buffer
from evalhub_server.engine.job_store import JobStore
from evalhub_server.errors import ApiError, StorageUnavailable
from evalhub_server.models.common import Message
from evalhub_server.plugins import JobChange
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage


class Full(MemoryStorage):
    """Takes no change of a job while ``full``."""

    full = False

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        if self.full:
            raise StorageUnavailable("the disk is full")
        return await super().update_job(job_id, tenant, change)


def said(text: str) -> JobChange:
    return lambda job: with_changes(job, message=Message(message=f"{job.progress.message.message} {text}"))


def refused(job: JobRecord) -> JobRecord:
    raise ApiError(409, "job_can_not_be_updated", "not now")


class World:
    def __init__(self) -> None:
        self.storage = Full()
        self.store = JobStore(self.storage)
        self.changes: list[JobChanged] = []
        self.store.listen(self.changes.append)
        self.job = a_job(tenant="red")

    async def outage(self) -> None:
        await self.store.add(self.job)
        self.changes.clear()
        self.storage.full = True

    async def message(self) -> str:
        return (await self.store.get(self.job.id, None)).progress.message.message.removeprefix(
            self.job.progress.message.message
        )

    def defer(self, key: bytes, change: JobChange, tenant: str | None = None) -> bool:
        return self.store.defer(key, self.job.id, tenant, change)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(write_buffer, "RETRY", Backoff(0.01, 5.0))
    made = World()
    await made.outage()
    return made


async def until(world: World, message: str) -> None:
    async with asyncio.timeout(60):
        while await world.message() != message:
            await asyncio.sleep(0.01)


async def test_they_are_stored_in_order_and_announced_when_the_storage_is_back(world: World):
    for word in ("one", "two", "three"):
        assert world.defer(word.encode(), said(word))
    with pytest.raises(StorageUnavailable):
        await world.store.update(world.job.id, None, said("four"))
    assert await world.message() == ""
    world.storage.full = False
    await until(world, " one two three")
    assert [
        change.after is not None and change.after.progress.message.message[-3:] for change in world.changes
    ] == [
        "one",
        "two",
        "ree",
    ]
    await world.store.close()


async def test_what_comes_later_is_stored_later(world: World):
    world.defer(b"1", said("one"))
    world.storage.full = False
    await world.store.update(world.job.id, None, said("two"))
    assert await world.message() == " one two"
    await world.store.close()


async def test_the_same_again_is_kept_once(world: World):
    for word in ("one", "two", "three"):
        world.defer(b"the same", said(word))
    world.storage.full = False
    await until(world, " three")
    await world.store.close()


async def test_what_is_refused_by_then_holds_up_nothing(world: World):
    def broken(job: JobRecord) -> JobRecord:
        raise KeyError("a bug")

    world.defer(b"1", refused)
    world.defer(b"2", broken)
    world.defer(b"3", said("of a stranger"), tenant="blue")
    world.defer(b"4", said("one"), tenant="red")
    world.store.defer(b"5", "no-such-job", None, said("nothing"))
    with capture_logs() as logs:
        world.storage.full = False
        await until(world, " one")
        await world.store.close()
    levels = [line["log_level"] for line in logs if "Buffered" in line["event"]]
    assert sorted(levels) == ["error", "warning", "warning", "warning"]


async def test_there_is_a_limit(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_buffer, "MAX_BYTES", write_buffer.OVERHEAD_BYTES + 3)
    assert world.defer(b"one", said("one"))
    assert not world.defer(b"two", said("two"))
    assert world.defer(b"one", said("three"))
    world.storage.full = False
    await until(world, " three")
    world.storage.full = True
    assert world.defer(b"two", said("four"))
    await world.store.close()


async def test_the_end_tries_once_more_and_says_what_is_lost(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_buffer, "RETRY", Backoff(60.0, 60.0))
    world.defer(b"1", said("one"))
    world.storage.full = False
    await world.store.close()
    assert await world.message() == " one"
    world.storage.full = True
    world.defer(b"2", said("two"))
    with capture_logs() as logs:
        await world.store.close()
    (lost,) = [line for line in logs if line["log_level"] == "error"]
    assert (lost["job_id"], lost["changes"]) == (world.job.id, 1)


async def test_the_death_of_its_task_is_not_its_end(world: World):
    world.defer(b"1", said("one"))
    (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "write-buffer"]
    task.cancel()
    await asyncio.wait([task])
    world.defer(b"2", said("two"))
    world.storage.full = False
    await until(world, " one two")
    await world.store.close()


async def test_parallel_updates_after_an_outage_store_nothing_twice(world: World):
    for number in range(5):
        world.defer(str(number).encode(), said(str(number)))
    world.storage.full = False
    await asyncio.gather(*(world.store.update(world.job.id, None, lambda job: job) for _ in range(5)))
    assert await world.message() == " 0 1 2 3 4"
    await world.store.close()
