"""Changes that are stored with the next change of their job."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from evalhub_common.backoff import Backoff
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine import write_buffer
from evalhub_server.engine.job_store import JobStore
from evalhub_server.errors import ApiError, NotFound, StorageError, StorageUnavailable
from evalhub_server.plugins import JobChange
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage


class Failing(MemoryStorage):
    """Raises ``error`` in each change of a job, unless that is None."""

    error: StorageError | None = None

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        if self.error is not None:
            raise self.error
        return await super().update_job(job_id, tenant, change)


class World:
    def __init__(self, postponed_s: float) -> None:
        self.storage = Failing()
        self.store = JobStore(self.storage, postponed_s=postponed_s)
        self.changes: list[JobChanged] = []
        self.store.listen(self.changes.append)
        self.job = a_job()

    async def pinned_and_cancelled(self) -> tuple[bool, bool]:
        job = await self.store.get(self.job.id, None)
        return job.progress.pinned, job.progress.cancelled

    async def until_pinned(self) -> None:
        async with asyncio.timeout(60):
            while (await self.pinned_and_cancelled())[0] is False:
                await asyncio.sleep(0.005)


async def world(postponed_s: float = 3600) -> World:
    created = World(postponed_s)
    await created.store.add(created.job)
    created.changes.clear()
    return created


def pin(job: JobRecord) -> JobRecord:
    return job if job.progress.pinned else with_changes(job, pinned=True)


def cancel(job: JobRecord) -> JobRecord:
    return with_changes(job, cancelled=True)


def refused(_job: JobRecord) -> JobRecord:
    raise ApiError(409, "job_can_not_be_updated", "not now")


async def test_it_is_stored_and_announced_with_the_next_change():
    here = await world()
    here.store.postpone(here.job.id, pin)
    assert await here.pinned_and_cancelled() == (False, False)
    await here.store.update(here.job.id, None, cancel)
    assert await here.pinned_and_cancelled() == (True, True)
    assert len(here.changes) == 1


@pytest.mark.parametrize("change", [lambda job: job, lambda job: None])
async def test_it_is_stored_with_a_change_that_changes_nothing(change: JobChange):
    here = await world()
    here.store.postpone(here.job.id, pin)
    await here.store.update(here.job.id, None, change)
    assert await here.pinned_and_cancelled() == (True, False)


async def test_it_waits_for_the_change_after_one_that_is_refused():
    here = await world()
    here.store.postpone(here.job.id, pin)
    with pytest.raises(ApiError):
        await here.store.update(here.job.id, None, refused)
    assert await here.pinned_and_cancelled() == (False, False)
    await here.store.update(here.job.id, None, cancel)
    assert await here.pinned_and_cancelled() == (True, True)


async def test_one_that_comes_during_a_transaction_waits_for_the_next():
    here = await world()
    here.store.postpone(here.job.id, pin)

    def and_postpones(job: JobRecord) -> JobRecord:
        here.store.postpone(here.job.id, cancel)
        return job

    await here.store.update(here.job.id, None, and_postpones)
    assert await here.pinned_and_cancelled() == (True, False)
    await here.store.close()
    assert await here.pinned_and_cancelled() == (True, True)


async def test_it_is_stored_alone_when_its_time_is_over():
    here = await world(postponed_s=0.01)
    here.store.postpone(here.job.id, pin)
    await here.until_pinned()
    assert len(here.changes) == 1


async def test_it_is_buffered_while_the_storage_is_unavailable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(write_buffer, "RETRY", Backoff(0.01, 0.01))
    here = await world(postponed_s=0)
    here.storage.error = StorageUnavailable("the disk is full")
    here.store.postpone(here.job.id, pin)
    async with asyncio.timeout(60):
        while not here.store.has_buffered_changes:
            await asyncio.sleep(0.005)
    here.storage.error = None
    await here.until_pinned()
    await here.store.close()


async def test_one_that_cannot_be_stored_alone_is_stored_with_the_next_change():
    here = await world()
    here.store.postpone(here.job.id, pin)
    here.storage.error = StorageError("a fault")
    with capture_logs() as logged:
        await here.store.close()
    assert [each["error"] for each in logged] == ["a fault"]
    here.storage.error = None
    await here.store.update(here.job.id, None, cancel)
    assert await here.pinned_and_cancelled() == (True, True)


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_one_of_a_deleted_job_is_forgotten(elsewhere: bool):
    here = await world()
    here.store.postpone(here.job.id, pin)
    if elsewhere:
        await here.storage.delete_job(here.job.id, None)
    else:
        await here.store.delete(here.job, None)
    with capture_logs() as logged:
        await here.store.close()
    assert not logged
    with pytest.raises(NotFound):
        await here.store.get(here.job.id, None)


async def test_those_that_wait_for_a_write_are_woken_by_the_next_one():
    here = await world()
    waiting = [asyncio.create_task(here.store.next_write(3600)) for _ in range(2)]
    cancelled = asyncio.create_task(here.store.next_write(3600))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert not any(each.done() for each in waiting)
    await here.store.update(here.job.id, None, cancel)
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)
    later = asyncio.create_task(here.store.next_write(3600))
    await asyncio.sleep(0)
    await here.store.add(a_job())
    async with asyncio.timeout(60):
        await later


async def test_the_wait_for_a_write_has_a_limit():
    here = await world()
    async with asyncio.timeout(60):
        await asyncio.gather(here.store.next_write(0.01), here.store.next_write(3600))
        await here.store.next_write(0.01)
