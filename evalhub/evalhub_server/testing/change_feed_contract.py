"""Contract tests for the feed of changes between servers; a part of ``SharedStorageContract``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from evalhub_server.domain.resource import Kind
from evalhub_server.errors import NotFound
from evalhub_server.plugins.shared_storage import (
    CommittedChange,
    FeedItem,
    Gap,
    Lease,
    LeaseChanged,
    SharedStorage,
)
from evalhub_server.plugins.storage import JobQuery, ResourceQuery, Storage
from evalhub_server.testing.builders import a_collection, a_job, a_provider
from evalhub_server.testing.job_list_contract import say
from evalhub_server.testing.resource_contract import rename

LONG_S = 600.0
DEADLINE_S = 60.0

Pair = tuple[SharedStorage, SharedStorage]


async def acquired(storage: SharedStorage, duration_s: float = LONG_S) -> Lease:
    """Acquire the lease as soon as it is free."""
    async with asyncio.timeout(DEADLINE_S):
        while (lease := await storage.acquire_lease(duration_s)) is None:  # noqa: ASYNC110  expiry is no event
            await asyncio.sleep(0.01)
    return lease


async def read(feed: AsyncIterator[FeedItem], until: Callable[[list[FeedItem]], bool]) -> list[FeedItem]:
    """Read items until they satisfy the condition."""
    items: list[FeedItem] = []
    async with asyncio.timeout(DEADLINE_S):
        while not until(items):
            items.append(await anext(feed))
    return items


def changes_in(items: list[FeedItem]) -> list[CommittedChange]:
    return [item for item in items if isinstance(item, CommittedChange)]


def contains(record_id: str) -> Callable[[list[FeedItem]], bool]:
    """A condition for :func:`read`: a change of that record was read."""
    return lambda items: any(change.id == record_id for change in changes_in(items))


@asynccontextmanager
async def following(storage: SharedStorage) -> AsyncGenerator[AsyncGenerator[FeedItem]]:
    """A feed from now on, its first gap read already."""
    async with aclosing(storage.changes(None)) as feed:
        assert isinstance(await anext(feed), Gap)
        yield feed


async def seeded(storage: Storage) -> None:
    await storage.add_job(a_job(id="job"))
    await storage.add_resource(a_collection(id="collection"))


async def content(storage: Storage) -> tuple[Any, ...]:
    jobs = await storage.list_jobs(JobQuery(limit=1000))
    resources = [await storage.list_resources(ResourceQuery(kind=kind)) for kind in Kind]
    return jobs.items, *(page.items for page in resources)


@pytest.mark.asyncio
class ChangeFeedContract:
    """A base class of ``SharedStorageContract``, which describes the fixture."""

    async def test_commits_of_the_other_server_are_reported_in_order(self, pair: Pair) -> None:
        first, second = pair
        async with following(first) as feed:
            await second.add_job(a_job(id="job", tenant="team-a"))
            await read(feed, contains("job"))
            await second.update_job("job", "team-a", say("changed"))
            (changed,) = changes_in(await read(feed, contains("job")))
            await second.delete_job("job", None)
            (deleted,) = changes_in(await read(feed, contains("job")))
        for change in (changed, deleted):
            assert (change.kind, change.tenant, change.writer) == ("job", "team-a", second.server_id)
        assert (changed.deleted, deleted.deleted) == (False, True)

    async def test_changes_of_resources_are_reported(self, pair: Pair) -> None:
        first, second = pair
        system = a_provider(id="system", owner="system")
        async with following(first) as feed:
            await seeded(second)
            await second.update_resource(Kind.COLLECTION, "collection", None, rename("changed"))
            await second.replace_system([system])
            added = changes_in(await read(feed, contains("system")))
            assert {(each.kind, each.id, each.deleted) for each in added} == {
                ("job", "job", False),
                ("collection", "collection", False),
                ("provider", "system", False),
            }
            await second.replace_system([])
            await second.delete_resource(Kind.COLLECTION, "collection", None)
            removed = changes_in(await read(feed, contains("collection")))
        assert [(each.kind, each.id, each.deleted) for each in removed] == [
            ("provider", "system", True),
            ("collection", "collection", True),
        ]

    async def test_own_commits_are_not_reported(self, pair: Pair) -> None:
        first, second = pair
        async with following(first) as feed:
            await seeded(first)
            await first.fenced(await acquired(first)).update_job("job", None, say("own"))
            await second.add_job(a_job(id="of the other"))
            items = await read(feed, contains("of the other"))
        assert [change.id for change in changes_in(items)] == ["of the other"]

    async def test_what_changes_nothing_is_not_reported(self, pair: Pair) -> None:
        first, second = pair
        await seeded(second)
        async with following(first) as feed:
            await second.update_job("job", None, lambda job: job)
            with pytest.raises(NotFound):
                await second.delete_job("missing", None)
            await second.add_job(a_job(id="last"))
            items = await read(feed, contains("last"))
        assert [change.id for change in changes_in(items)] == ["last"]

    async def test_after_the_first_gap_nothing_is_missed(self, pair: Pair) -> None:
        first, second = pair
        ids = [f"job-{number:03}" for number in range(60)]

        async def write() -> None:
            for job_id in ids:
                await second.add_job(a_job(id=job_id))

        writing = asyncio.create_task(write())
        async with following(first) as feed:
            known = {job.id for job in (await content(first))[0]}
            await read(feed, lambda items: known | {change.id for change in changes_in(items)} == set(ids))
        await writing

    async def test_a_feed_is_complete_under_concurrent_writers(self, pair: Pair) -> None:
        first, second = pair
        ids = [f"job-{number}" for number in range(12)]

        async def write(job_id: str) -> None:
            await second.add_job(a_job(id=job_id))
            for number in range(6):
                await second.update_job(job_id, None, say(str(number)))
            await second.delete_job(job_id, None)

        async def noise() -> None:
            for _ in range(30):
                await first.add_job(a_job())

        async with following(first) as feed:
            writing = asyncio.gather(*map(write, ids), noise())
            gone: set[str] = set()

            def all_gone(items: list[FeedItem]) -> bool:
                gone.update(change.id for change in changes_in(items[-1:]) if change.deleted)
                return gone == set(ids)

            items = await read(feed, all_gone)
            await writing
        for job_id in ids:
            deletions = [change.deleted for change in changes_in(items) if change.id == job_id]
            assert deletions == sorted(deletions)
            assert deletions.count(True) == 1
        assert {change.writer for change in changes_in(items)} == {second.server_id}

    async def test_a_feed_resumes_at_a_position(self, pair: Pair) -> None:
        first, second = pair
        async with following(first) as feed:
            await second.add_job(a_job(id="before"))
            position = changes_in(await read(feed, contains("before")))[-1].position
        for number in range(3):
            await second.add_job(a_job(id=f"meanwhile-{number}"))
        async with aclosing(first.changes(position)) as feed:
            assert isinstance(await anext(feed), LeaseChanged), "the feed reports that it is connected"
            items = await read(feed, contains("meanwhile-2"))
        assert not any(isinstance(item, Gap) for item in items)
        assert {f"meanwhile-{number}" for number in range(3)} <= {change.id for change in changes_in(items)}

    @pytest.mark.parametrize("position", ["", "unknown", "99999999999"])
    async def test_an_unknown_position_is_a_gap(self, pair: Pair, position: str) -> None:
        first, second = pair
        async with aclosing(first.changes(position)) as feed:
            gap = await anext(feed)
            assert isinstance(gap, Gap)
            await second.add_job(a_job(id="later"))
            await read(feed, contains("later"))
        async with aclosing(first.changes(gap.position)) as feed:
            await read(feed, contains("later"))

    async def test_feeds_are_independent(self, pair: Pair) -> None:
        first, second = pair
        async with following(first) as one, following(first) as two, following(second) as opposite:
            await second.add_job(a_job(id="seconds"))
            await first.add_job(a_job(id="firsts"))
            for feed in (one, two):
                items = await read(feed, contains("seconds"))
                assert not contains("firsts")(items)
            await read(opposite, contains("firsts"))

    async def test_a_change_of_the_lease_is_reported(self, pair: Pair) -> None:
        first, second = pair
        async with following(first) as feed:
            lease = await acquired(second)
            await read(feed, lambda items: LeaseChanged() in items)
            await second.release_lease(lease)
            await read(feed, lambda items: LeaseChanged() in items)
            assert await first.acquire_lease(LONG_S) is not None
