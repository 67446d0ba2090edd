"""The change feed and its bounded followers."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.transitions import apply_event, launched
from evalhub_server.engine.change_feed import KEPT_ENTRIES, MAX_PENDING, ChangeFeed
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import a_job

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def report(feed: ChangeFeed, job: JobRecord, status: str, done: int = 0) -> JobRecord:
    progress = {"done": done, "total": 10_000}
    event = BenchmarkEvent(provider_id="provider-a", id="bench-0", status=status, progress=progress)
    after = apply_event(job, event, NOON)
    feed.publish(JobChanged(before=job, after=after))
    return after


def test_a_follower_gets_the_changes_of_its_job_in_order():
    feed, job, other = ChangeFeed(), a_job(), a_job()
    with feed.follow(job.id) as follower:
        job = report(feed, job, "running", 1)
        report(feed, other, "running", 7)
        report(feed, job, "running", 2)
        entries = follower.take()
    assert [[name for name, _ in entry.frames] for entry in entries] == [["benchmark", "job"], ["benchmark"]]
    assert [entry.position for entry in entries] == [1, 3]


def test_a_follower_that_takes_nothing_keeps_only_the_state_of_the_job():
    feed, job = ChangeFeed(), a_job()
    with feed.follow(job.id) as follower:
        for done in range(MAX_PENDING + 5):
            job = report(feed, job, "running", done)
        report(feed, job, "completed")
        assert follower.overtaken
        assert follower.take() == []
        ((name, data),) = follower.take_states()
    assert (name, msgspec.json.decode(data)["state"]) == ("job", "completed")


def test_missed_changes_are_known_up_to_a_limit():
    feed, job = ChangeFeed(), a_job()
    with feed.follow("another"):
        for done in range(KEPT_ENTRIES + 10):
            job = report(feed, job, "running", done)
    missed = feed.since(feed.epoch, feed.position - 3, job_id=job.id)
    assert missed is not None
    assert [entry.position for entry in missed] == [feed.position - 2, feed.position - 1, feed.position]
    oldest = feed.since(feed.epoch, 10, job_id=job.id)
    assert oldest is not None
    assert len(oldest) == KEPT_ENTRIES
    assert feed.since(feed.epoch, 9) is None
    assert feed.since(feed.epoch, feed.position + 1) is None
    assert feed.since("other", feed.position) is None
    assert feed.since(feed.epoch, feed.position) == []


def test_a_reader_that_has_left_can_resume():
    feed, job = ChangeFeed(), a_job()
    job = report(feed, job, "running", 1)
    with feed.follow(job.id):
        seen = feed.position
    job = report(feed, job, "running", 2)
    missed = feed.since(feed.epoch, seen, job_id=job.id)
    assert missed is not None
    assert [entry.position for entry in missed] == [2]


def test_changes_are_kept_only_while_a_reader_can_resume():
    feed, job = ChangeFeed(), a_job()
    job = report(feed, job, "running")
    assert feed.since(feed.epoch, 0) is None
    with feed.follow(job.id):
        pass
    for done in range(KEPT_ENTRIES + 1):
        assert feed.since(feed.epoch, 1) is not None
        job = report(feed, job, "running", done + 1)
    assert feed.since(feed.epoch, 1) is None
    job = report(feed, job, "running", 0)
    assert feed.since(feed.epoch, feed.position - 1) is None
    assert feed.since(feed.epoch, feed.position) == []


async def test_a_waiter_notices_changes_that_streams_do_not_show():
    feed, job = ChangeFeed(), a_job()
    with feed.wait_for(job.id) as waiter:
        feed.publish(JobChanged(before=job, after=launched(job, 0, {"pid": 1}, runtime="local")))
        assert await waiter.wait(0)
        feed.publish(JobChanged(before=None, after=a_job()))
        assert not await waiter.wait(0)
        feed.close()
        assert await waiter.wait(0)


def test_nothing_is_kept_of_followers_that_have_left():
    feed, job = ChangeFeed(), a_job()
    with feed.follow(job.id), feed.wait_for(job.id), feed.follow_all(lambda _facts: True):
        assert feed.followers == 3
    assert feed.followers == 0
