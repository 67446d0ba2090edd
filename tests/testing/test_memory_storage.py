"""The in-memory storage keeps the contract that it is the reference of."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from evalhub_server.plugins import Gap, JobQuery, Lease, Storage, StorageUnavailable
from evalhub_server.testing import SharedMemory, SharedMemoryStorage, a_job
from evalhub_server.testing.memory import MemoryStorage
from evalhub_server.testing.shared_storage_contract import SharedStorageContract
from evalhub_server.testing.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    def make_storage(self, directory: Path) -> Storage:
        return MemoryStorage()


def test_the_contract_asks_its_subclass_for_a_storage(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="return the storage"):
        StorageContract().make_storage(tmp_path)


class TestSharedMemoryStorage(StorageContract):
    def make_storage(self, directory: Path) -> Storage:
        return SharedMemoryStorage(SharedMemory())


class TestSharedMemory(SharedStorageContract):
    @pytest.fixture
    def pair(self) -> tuple[SharedMemoryStorage, SharedMemoryStorage]:
        memory = SharedMemory()
        return SharedMemoryStorage(memory), SharedMemoryStorage(memory)


async def test_a_feed_that_falls_behind_has_a_gap() -> None:
    memory = SharedMemory(max_changes=3)
    reader, writer = SharedMemoryStorage(memory), SharedMemoryStorage(memory)
    async with aclosing(reader.changes(None)) as feed:
        first = await anext(feed)
        assert isinstance(first, Gap)
        for _ in range(4):
            await writer.add_job(a_job())
        assert isinstance(await anext(feed), Gap)
    async with aclosing(reader.changes(first.position)) as feed:
        assert isinstance(await anext(feed), Gap)


async def test_the_clock_of_the_memory_decides_on_expiry() -> None:
    moment = 0.0
    memory = SharedMemory(clock=lambda: moment)
    first, second = SharedMemoryStorage(memory, "first"), SharedMemoryStorage(memory, "second")
    lease = await first.acquire_lease(6)
    assert lease == Lease(epoch=1, holder="first", expires_in_s=6)
    moment = 5.9
    assert await second.acquire_lease(6) is None
    moment = 6.0
    assert await second.acquire_lease(6) == Lease(epoch=2, holder="second", expires_in_s=6)


async def test_a_server_that_is_cut_off_reaches_nothing() -> None:
    memory = SharedMemory()
    storage = SharedMemoryStorage(memory)
    lease = await storage.acquire_lease(60)
    assert lease is not None
    leading = storage.fenced(lease)
    async with aclosing(storage.changes(None)) as feed:
        await anext(feed)
        storage.cut()
        with pytest.raises(StorageUnavailable, match="cut"):
            await anext(feed)
    for call in (
        storage.open_jobs(),
        storage.renew_lease(lease, 60),
        storage.release_lease(lease),
        storage.current_lease(),
        storage.acquire_lease(60),
        leading.add_job(a_job()),
        leading.list_jobs(JobQuery()),
    ):
        with pytest.raises(StorageUnavailable, match="cut"):
            await call
    storage.cut(False)
    await leading.add_job(a_job())
