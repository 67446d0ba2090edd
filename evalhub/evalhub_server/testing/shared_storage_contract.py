"""Contract tests for storages that several servers share.

A plugin author subclasses :class:`SharedStorageContract` beside ``StorageContract`` and defines the fixture ``pair``: two
open instances of one empty database, as two servers have them::

    class TestMySharedStorage(SharedStorageContract):
        @pytest_asyncio.fixture
        async def pair(self, tmp_path):
            first, second = MyStorage(tmp_path), MyStorage(tmp_path)
            ...
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import Kind
from evalhub_server.errors import LeadershipLost, NotFound
from evalhub_server.plugins.storage import Storage
from evalhub_server.testing.builders import a_job, a_provider
from evalhub_server.testing.change_feed_contract import (
    LONG_S,
    ChangeFeedContract,
    Pair,
    acquired,
    content,
    seeded,
)
from evalhub_server.testing.job_list_contract import say
from evalhub_server.testing.resource_contract import rename

Write = Callable[[Storage], Awaitable[Any]]


def _same(job: JobRecord) -> JobRecord:
    return job


_WRITES: dict[str, Write] = {
    "add_job": lambda storage: storage.add_job(a_job(id="another job")),
    "update_job": lambda storage: storage.update_job("job", None, say("changed")),
    "update_job, unchanged": lambda storage: storage.update_job("job", None, _same),
    "delete_job": lambda storage: storage.delete_job("job", None),
    "add_resource": lambda storage: storage.add_resource(a_provider(id="another provider")),
    "update_resource": lambda storage: storage.update_resource(
        Kind.COLLECTION, "collection", None, rename("changed")
    ),
    "delete_resource": lambda storage: storage.delete_resource(Kind.COLLECTION, "collection", None),
    "replace_system": lambda storage: storage.replace_system([a_provider(id="system", owner="system")]),
}


@pytest.mark.asyncio
class SharedStorageContract(ChangeFeedContract):
    """Subclass it under a name that pytest collects (``Test…``) and define the fixture ``pair``."""

    # --- records

    async def test_each_server_reads_what_the_other_wrote(self, pair: Pair) -> None:
        first, second = pair
        assert first.server_id != second.server_id
        job = a_job()
        await first.add_job(job)
        assert await second.get_job(job.id, None) == job
        for number in range(5):
            for writer, reader in (pair, reversed(pair)):
                after = await writer.update_job(job.id, None, say(f"{writer.server_id} {number}"))
                assert await reader.get_job(job.id, None) == after
        await first.delete_job(job.id, None)
        with pytest.raises(NotFound):
            await second.get_job(job.id, None)

    async def test_no_update_of_two_servers_is_lost(self, pair: Pair) -> None:
        job = a_job()
        await pair[0].add_job(job)

        def append(mark: str, record: JobRecord) -> JobRecord | None:
            return say(record.progress.message.message + mark)(record)

        await pair[0].update_job(job.id, None, say(""))
        marks = [f"<{number}>" for number in range(40)]
        await asyncio.gather(
            *(pair[n % 2].update_job(job.id, None, partial(append, mark)) for n, mark in enumerate(marks))
        )
        text = (await pair[1].get_job(job.id, None)).progress.message.message
        assert sorted(text.removeprefix("<").removesuffix(">").split("><"), key=int) == [
            str(n) for n in range(40)
        ]

    # --- lease

    async def test_one_server_leads_until_it_releases_the_lease(self, pair: Pair) -> None:
        first, second = pair
        assert await second.current_lease() is None
        lease = await first.acquire_lease(LONG_S)
        assert lease is not None
        assert await second.acquire_lease(LONG_S) is None
        for storage in pair:
            current = await storage.current_lease()
            assert current is not None
            assert (current.epoch, current.holder) == (lease.epoch, first.server_id)
            assert LONG_S / 2 < current.expires_in_s <= LONG_S
        await first.release_lease(lease)
        assert await second.current_lease() is None
        successor = await second.acquire_lease(LONG_S)
        assert successor is not None
        assert successor.epoch > lease.epoch
        await first.release_lease(lease)  # not its own any more
        assert await first.acquire_lease(LONG_S) is None

    async def test_of_servers_that_compete_one_gets_the_lease(self, pair: Pair) -> None:
        epochs: list[int] = []
        for _ in range(10):
            results = await asyncio.gather(*(storage.acquire_lease(LONG_S) for storage in pair))
            found = [
                (storage, lease) for storage, lease in zip(pair, results, strict=True) if lease is not None
            ]
            assert len(found) <= 1
            for storage, lease in found:
                epochs.append(lease.epoch)
                await storage.release_lease(lease)
        assert epochs
        assert epochs == sorted(set(epochs))

    async def test_a_lease_that_is_not_renewed_expires(self, pair: Pair) -> None:
        first, second = pair
        old = await acquired(first, 0.05)
        new = await acquired(second)
        assert new.epoch > old.epoch
        with pytest.raises(LeadershipLost, match=first.server_id):
            await first.renew_lease(old, LONG_S)
        current = await first.current_lease()
        assert current is not None
        assert current.holder == second.server_id

    async def test_a_renewal_sets_the_time_of_expiry(self, pair: Pair) -> None:
        first, second = pair
        lease = await acquired(first, LONG_S)
        longer = await first.renew_lease(lease, 2 * LONG_S)
        assert longer.epoch == lease.epoch
        assert longer.expires_in_s > LONG_S
        await first.renew_lease(longer, 0.05)
        await acquired(second)

    async def test_a_released_lease_cannot_be_renewed(self, pair: Pair) -> None:
        lease = await acquired(pair[0])
        await pair[0].release_lease(lease)
        with pytest.raises(LeadershipLost):
            await pair[0].renew_lease(lease, LONG_S)

    async def test_a_server_that_acquires_its_own_lease_again_ends_the_earlier_one(self, pair: Pair) -> None:
        first, _ = pair
        old = await acquired(first)
        new = await first.acquire_lease(LONG_S)
        assert new is not None
        assert new.epoch > old.epoch
        with pytest.raises(LeadershipLost):
            await first.fenced(old).add_job(a_job())
        await first.fenced(new).add_job(a_job())

    # --- fence

    async def test_writes_under_a_lost_lease_write_nothing(self, pair: Pair) -> None:
        first, second = pair
        await seeded(first)
        leading = first.fenced(await acquired(first, 0.05))
        await acquired(second)
        before = await content(second)
        for operation, write in _WRITES.items():
            with pytest.raises(LeadershipLost, match=first.server_id):
                await write(leading)
            assert await content(second) == before, operation
        assert (await leading.get_job("job", None)).id == "job"

    async def test_writes_under_a_valid_lease_are_written(self, pair: Pair) -> None:
        first, second = pair
        await seeded(first)
        leading = first.fenced(await acquired(first))
        before = await content(second)
        for operation, write in _WRITES.items():
            await write(leading)
            after = await content(second)
            assert (after == before) == ("unchanged" in operation), operation
            before = after

    async def test_other_writes_of_a_server_need_no_lease(self, pair: Pair) -> None:
        first, second = pair
        await seeded(first)
        lost = first.fenced(await acquired(first, 0.05))
        await acquired(second)
        plain, fenced, later = await asyncio.gather(
            first.update_job("job", None, say("plain")),
            lost.update_job("job", None, say("fenced")),
            first.update_job("job", None, lambda job: say(job.progress.message.message + ", too")(job)),
            return_exceptions=True,
        )
        assert isinstance(plain, JobRecord)
        assert isinstance(fenced, LeadershipLost)
        assert isinstance(later, JobRecord)
        assert (await second.get_job("job", None)).progress.message.message == "plain, too"

    async def test_no_write_is_committed_after_a_takeover(self, pair: Pair) -> None:
        first, second = pair
        jobs = [a_job(size=3) for _ in range(8)]
        for job in jobs:
            await first.add_job(job)
        leading = first.fenced(await acquired(first, 0.3))
        written: dict[str, int] = {}

        async def write(job_id: str) -> None:
            for number in range(100_000):
                await leading.update_job(job_id, None, say(str(number)))
                written[job_id] = number

        tasks = [asyncio.create_task(write(job.id)) for job in jobs]
        await acquired(second)
        seen = {job.id: (await second.get_job(job.id, None)).progress.message for job in jobs}
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(each) for each in ended} == {LeadershipLost}
        for job in jobs:
            message = (await second.get_job(job.id, None)).progress.message
            assert message == seen[job.id]
            if job.id in written:
                assert message.message == str(written[job.id])
