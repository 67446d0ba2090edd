"""Contract tests for lists of jobs; a part of ``StorageContract``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.models.common import Message, State
from evalhub_server.plugins.storage import JobChange, JobQuery, Storage
from evalhub_server.testing.builders import EPOCH, a_job, all_of, any_of, none_of
from evalhub_server.testing.resource_list_contract import LABEL_TERMS, LABELLED


def say(text: str) -> JobChange:
    """Return a change that sets the job's message."""
    return lambda job: with_changes(job, message=Message(message=text))


async def ids(storage: Storage, query: JobQuery) -> list[str]:
    page = await storage.list_jobs(query)
    assert page.total_count == len(page.items), "this helper is for lists of one page"
    return [job.id for job in page.items]


async def stored(storage: Storage, jobs: Sequence[JobRecord]) -> Sequence[JobRecord]:
    for job in jobs:
        await storage.add_job(job)
    return jobs


@pytest.mark.asyncio
class JobListContract:
    """A base class of ``StorageContract``, which provides the fixture."""

    async def test_a_list_of_nothing_is_empty(self, storage: Storage) -> None:
        page = await storage.list_jobs(JobQuery())
        assert (page.items, page.total_count) == ([], 0)

    async def test_a_list_is_newest_first_and_then_by_id_descending(self, storage: Storage) -> None:
        later = EPOCH + timedelta(days=2)
        moments = {"b": later, "c": EPOCH, "a": later, "d": later - timedelta(microseconds=1), "e": later}
        await stored(storage, [a_job(id=job_id, created_at=moment) for job_id, moment in moments.items()])
        assert await ids(storage, JobQuery()) == ["e", "b", "a", "d", "c"]

    async def test_pages_join_to_the_whole_list(self, storage: Storage) -> None:
        jobs = await stored(storage, [a_job(tags=("x",)) for _ in range(7)])
        newest_first = [job.id for job in reversed(jobs)]
        for query in (JobQuery(limit=3), JobQuery(limit=3, tags=any_of("x"))):
            seen: list[str] = []
            for offset in (0, 3, 6):
                page = await storage.list_jobs(msgspec.structs.replace(query, offset=offset))
                assert page.total_count == 7
                seen += [job.id for job in page.items]
            assert seen == newest_first

    async def test_a_page_beyond_the_end_is_empty_and_still_counts(self, storage: Storage) -> None:
        await stored(storage, [a_job(), a_job()])
        for offset in (2, 1000, 10**30):
            page = await storage.list_jobs(JobQuery(offset=offset))
            assert (page.items, page.total_count) == ([], 2)

    async def test_a_list_shows_what_an_update_left(self, storage: Storage) -> None:
        job = a_job()
        await storage.add_job(job)
        assert (await storage.list_jobs(JobQuery())).items == [job]
        after = await storage.update_job(job.id, None, say("changed"))
        assert (await storage.list_jobs(JobQuery())).items == [after]

    async def test_a_list_asked_again_shows_what_has_come_gone_and_changed(self, storage: Storage) -> None:
        queries = (JobQuery(), JobQuery(status=any_of("pending")), JobQuery(tags=any_of("x")))

        async def answers() -> list[list[str]]:
            return [await ids(storage, query) for query in queries]

        assert await answers() == [[], [], []]
        first, second = await stored(storage, [a_job(tags=("x",)), a_job(tags=("x",))])
        assert await answers() == [[second.id, first.id]] * 3
        await storage.update_job(first.id, None, lambda job: with_changes(job, state=State.RUNNING))
        assert await answers() == [[second.id, first.id], [second.id], [second.id, first.id]]
        retagged = msgspec.structs.replace(first.request, tags=())
        await storage.update_job(first.id, None, lambda job: with_changes(job, request=retagged))
        assert await answers() == [[second.id, first.id], [second.id], [second.id]]
        await storage.delete_job(second.id, None)
        assert await answers() == [[first.id], [], []]

    async def test_filters_on_single_values(self, storage: Storage) -> None:
        a, b, c = await stored(
            storage,
            [
                a_job(name="a", owner="ada", state=State.RUNNING, experiment_id="1"),
                a_job(name="b", owner="bob", state=State.COMPLETED, experiment_id="2"),
                a_job(name="c", owner="cyd", state=State.PARTIALLY_FAILED),
            ],
        )
        values = {
            "name": ("a", "b", "c"),
            "owner": ("ada", "bob", "cyd"),
            "status": ("running", "completed", "partially_failed"),
            "experiment_id": ("1", "2", ""),
        }
        for field, (first, second, third) in values.items():
            for terms, expected in (
                (any_of(first), [a]),
                (any_of(first, third), [c, a]),
                (any_of(second, second), [b]),
                (any_of("unheard of"), []),
                (any_of(first.upper() + "x"), []),
                (all_of(second), [b]),
                (all_of(first, second), []),
                (none_of(first), [c, b]),
                (none_of(first, third), [b]),
                (none_of("unheard of"), [c, b, a]),
            ):
                query = msgspec.structs.replace(JobQuery(), **{field: terms})
                assert await ids(storage, query) == [job.id for job in expected], (field, terms)

    async def test_filters_on_tags(self, storage: Storage) -> None:
        await stored(storage, [a_job(id=each, tags=tags) for each, tags in LABELLED.items()])
        for terms, expected in LABEL_TERMS:
            assert await ids(storage, JobQuery(tags=terms)) == expected.split(), terms

    async def test_filters_are_combined(self, storage: Storage) -> None:
        wanted, *_ = await stored(
            storage,
            [
                a_job(tenant="t", name="n", owner="o", tags=("x", "y"), experiment_id="1"),
                a_job(tenant="t", name="n", owner="o", tags=("x",), experiment_id="1"),
                a_job(tenant="t", name="n", owner="p", tags=("x", "y"), experiment_id="1"),
                a_job(tenant="u", name="n", owner="o", tags=("x", "y"), experiment_id="1"),
                a_job(
                    tenant="t", name="n", owner="o", tags=("x", "y"), experiment_id="1", state=State.FAILED
                ),
            ],
        )
        query = JobQuery(
            tenant="t",
            name=any_of("n", "m"),
            owner=none_of("p"),
            tags=all_of("y", "x"),
            experiment_id=any_of("1"),
            status=none_of("failed"),
        )
        assert await ids(storage, query) == [wanted.id]

    async def test_names_are_compared_literally(self, storage: Storage) -> None:
        odd = ["a'b", 'a"b', "a%", "a_b", "A", "å", "a b", "x; DROP TABLE jobs", "\N{PILE OF POO}"]
        jobs = await stored(storage, [a_job(name=name, tags=(name,), owner=name) for name in odd])
        for name, job in zip(odd, jobs, strict=True):
            for query in (
                JobQuery(name=any_of(name)),
                JobQuery(tags=any_of(name)),
                JobQuery(owner=any_of(name)),
            ):
                assert await ids(storage, query) == [job.id]
