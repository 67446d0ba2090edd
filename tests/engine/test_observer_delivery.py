"""Observers hear of every change, in order, and none can hurt another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine import observers
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.observers import ObserverDispatcher
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage


class Listener:
    """Notes the names of the jobs that it hears of; raises or waits first, if dispatcher to."""

    def __init__(self, *, error: BaseException | None = None, wait: asyncio.Event | None = None) -> None:
        self.heard: list[str] = []
        self._error = error
        self._wait = wait

    async def __call__(self, change: JobChanged) -> None:
        job = change.after or change.before
        assert job is not None
        self.heard.append(job.request.name)
        if self._wait is not None:
            await self._wait.wait()
        if self._error is not None:
            raise self._error

    async def until(self, *names: str) -> None:
        async with asyncio.timeout(60):
            while self.heard != list(names):
                await asyncio.sleep(0.005)


def a_change(name: str) -> JobChanged:
    return JobChanged(before=None, after=a_job(name=name))


@pytest.mark.parametrize("error", [RuntimeError("a bug"), asyncio.CancelledError(), None])
async def test_every_observer_hears_every_change_whatever_another_does(error: BaseException | None) -> None:
    bad = Listener(error=error, wait=None if error else asyncio.Event())
    good = Listener()
    dispatcher = ObserverDispatcher([("bad", bad), ("good", good)])
    dispatcher.start()
    for name in "abc":
        dispatcher.publish(a_change(name))
    await good.until("a", "b", "c")
    await bad.until(*("abc" if error else "a"))
    await dispatcher.close(drain_s=0.01)


async def test_an_observer_that_never_ends_is_given_up_after_its_time() -> None:
    slow = Listener(wait=asyncio.Event())
    dispatcher = ObserverDispatcher([("slow", slow)], timeout_s=0.01)
    dispatcher.start()
    dispatcher.publish(a_change("a"))
    dispatcher.publish(a_change("b"))
    await slow.until("a", "b")
    await dispatcher.close()


@pytest.mark.parametrize("turns", range(5))
async def test_observers_stop_even_if_a_call_ends_at_that_moment(turns: int) -> None:
    gate = asyncio.Event()
    listener = Listener(wait=gate)
    dispatcher = ObserverDispatcher([("listener", listener)])
    dispatcher.start()
    for name in "ab":
        dispatcher.publish(a_change(name))
    await listener.until("a")
    closing = asyncio.create_task(dispatcher.close(drain_s=0))
    for _ in range(turns):
        await asyncio.sleep(0)
    gate.set()
    async with asyncio.timeout(60):
        await closing


async def test_a_plain_function_is_an_observer_too() -> None:
    heard: list[Any] = []

    def plain(change: JobChanged) -> None:
        heard.append(change)

    dispatcher = ObserverDispatcher([("plain", plain)])
    dispatcher.start()
    change = a_change("a")
    dispatcher.publish(change)
    await dispatcher.close(drain_s=5)
    assert heard == [change]


async def test_what_an_observer_cannot_keep_up_with_is_dropped_for_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(observers, "BACKLOG", 2)
    slow, quick = Listener(wait=asyncio.Event()), Listener()
    dispatcher = ObserverDispatcher([("slow", slow), ("quick", quick)])
    dispatcher.start()
    for name in "abcdef":
        dispatcher.publish(a_change(name))
        await quick.until(*"abcdef"[: "abcdef".index(name) + 1])
    await dispatcher.close(drain_s=0.01)


async def test_create_change_and_delete_are_announced_after_they_are_stored() -> None:
    store = JobStore(MemoryStorage())
    changes: list[JobChanged] = []
    store.listen(changes.append)
    job = a_job()
    await store.add(job)

    def rename(now: JobRecord) -> JobRecord:

        return with_changes(now, owner=now.owner, updated_at=now.created_at, cancelled=True)

    after = await store.update(job.id, None, rename)
    assert await store.update(job.id, None, lambda now: now) is after
    await store.delete(after, None)
    assert [(c.before, c.after) for c in changes] == [(None, job), (job, after), (after, None)]
