"""Contract tests for lists of jobs; a part of ``StorageContract``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, get_args

import msgspec
import pytest

from evalhub_server.domain.record import (
    BenchmarkRecord,
    Exit,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    with_changes,
)
from evalhub_server.models.common import Message, State
from evalhub_server.models.job import CollectionRef, Experiment, JobRequest, JobTest, Model
from evalhub_server.plugins.storage import JobChange, JobCounts, JobFacetName, JobQuery, JobSort, Storage
from evalhub_server.testing.builders import EPOCH, a_job, all_of, any_of, none_of
from evalhub_server.testing.contract import Contract
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


def labelled(job_id: str, model: Model, *planned: tuple[str, str], **definition: Any) -> JobRecord:
    """Return a job over ``planned`` benchmarks, each a provider and its benchmark; further fields are of its definition."""
    benchmarks = tuple(PlannedBenchmark(provider_id=provider, id=each) for provider, each in planned)
    request = JobRequest(name="j", model=model, **definition.pop("request", {}))
    return a_job(
        id=job_id, request=request, plan=JobPlan(benchmarks=benchmarks), size=len(planned), **definition
    )


def finished(job_id: str, name: str, score: float, seconds: float) -> JobRecord:
    """Return a completed job."""
    end = EPOCH + timedelta(seconds=seconds)
    benchmark = BenchmarkRecord(
        index=0, state=State.COMPLETED, started_at=EPOCH.isoformat(), completed_at=end.isoformat()
    )
    test = JobTest(score=score, threshold=0.5, passed=True)
    return a_job(id=job_id, name=name, state=State.COMPLETED, test=test, benchmarks=(benchmark,))


@pytest.mark.asyncio
class JobListContract(Contract):
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

    async def test_filters_on_labels_of_jobs(self, storage: Storage) -> None:
        collection, experiment = {"collection": CollectionRef(id="k")}, {"experiment": Experiment(name="e")}
        await stored(
            storage,
            [
                labelled("a", Model(name="m", url="http://m"), ("p", "b"), ("q", "c")),
                labelled("b", Model(name="n", url="http://m"), ("p", "c"), request=collection),
                labelled("c", Model(name="m"), ("q", "b"), request=experiment, derived_from="a", lineage="b"),
            ],
        )
        for label, terms, expected in (
            ("model_name", any_of("m"), "c a"),
            ("model_name", any_of("m", "n"), "c b a"),
            ("model_name", all_of("m", "n"), ""),
            ("model_name", none_of("m"), "b"),
            ("model_url", any_of("http://m"), "b a"),
            ("model_url", any_of("http://M"), ""),
            ("provider_id", any_of("q"), "c a"),
            ("provider_id", all_of("p", "q"), "a"),
            ("provider_id", none_of("p", "nope"), "c"),
            ("benchmark_id", any_of("b"), "c a"),
            ("collection_id", any_of("k"), "b"),
            ("collection_id", none_of("k"), "c a"),
            ("experiment_name", any_of("e"), "c"),
            ("derived_from", any_of("a"), "c"),
            ("lineage", any_of("b"), "c"),
        ):
            found = await ids(storage, JobQuery(labels={label: terms}))
            assert found == expected.split(), (label, terms)
        both = {"model_name": any_of("m"), "provider_id": any_of("q"), "benchmark_id": none_of("c")}
        assert await ids(storage, JobQuery(labels=both, tags=none_of("x"))) == ["c"]

    async def test_filters_on_the_start_of_a_name(self, storage: Storage) -> None:
        names = ["ab", "abc", "Ab", "b", "a%", "a", "", "ab\N{PILE OF POO}", "\U0010ffff\U0010ffff"]
        jobs = await stored(storage, [a_job(name=name) for name in names])
        for prefix in ("a", "ab", "a%", "A", "b", "zz", "ab\N{PILE OF POO}", "\U0010ffff", "\ud7ff", ""):
            wanted = [job.id for job in reversed(jobs) if job.request.name.startswith(prefix)]
            assert await ids(storage, JobQuery(name_prefix=prefix)) == wanted, prefix

    async def test_filters_on_the_time_of_creation(self, storage: Storage) -> None:
        second = timedelta(seconds=1)
        await stored(storage, [a_job(id=str(n), created_at=EPOCH + n * second) for n in range(4)])
        after, before = EPOCH + second, EPOCH + 3 * second
        assert await ids(storage, JobQuery(created_after=after)) == ["3", "2", "1"]
        assert await ids(storage, JobQuery(created_before=before)) == ["2", "1", "0"]
        assert await ids(storage, JobQuery(created_after=after, created_before=before)) == ["2", "1"]
        assert await ids(storage, JobQuery(created_after=before, created_before=after)) == []

    async def test_filters_on_pinned_jobs(self, storage: Storage) -> None:
        first, second = await stored(storage, [a_job(), a_job()])
        await storage.update_job(first.id, None, lambda job: with_changes(job, pinned=True))
        assert await ids(storage, JobQuery(pinned=True)) == [first.id]
        assert await ids(storage, JobQuery(pinned=False)) == [second.id]
        await storage.update_job(first.id, None, lambda job: with_changes(job, pinned=False))
        assert await ids(storage, JobQuery(pinned=True)) == []

    async def test_sort_orders(self, storage: Storage) -> None:
        await stored(
            storage,
            [
                finished("a", "x", score=0.5, seconds=10),
                finished("b", "Y", score=-2.0, seconds=1),
                a_job(id="c", name="x"),
                finished("d", "z", score=0.5, seconds=10),
                finished("e", "", score=90.0, seconds=2.5),
            ],
        )
        orders: tuple[tuple[JobSort, str, str], ...] = (
            ("created_at", "a b c d e", "e d c b a"),
            ("name", "e b a c d", "d c a b e"),
            ("score", "b a d e c", "e d a b c"),
            ("duration", "b e a d c", "d a e b c"),
        )
        for sort, up, down in orders:
            for descending, expected in ((False, up), (True, down)):
                query = JobQuery(sort=sort, descending=descending)
                assert await ids(storage, query) == expected.split(), (sort, descending)
                in_tenant = msgspec.structs.replace(query, tenant="")
                assert await ids(storage, in_tenant) == expected.split(), (sort, descending)
                page = await storage.list_jobs(msgspec.structs.replace(query, limit=2, offset=1))
                assert [job.id for job in page.items] == expected.split()[1:3]

    async def test_a_score_sorts_when_it_comes(self, storage: Storage) -> None:
        first, second = await stored(storage, [a_job(), finished("f", "n", score=0.5, seconds=1)])
        by_score = JobQuery(sort="score")  # descending
        assert await ids(storage, by_score) == [second.id, first.id]
        scored = JobTest(score=0.9, threshold=0.5, passed=True)
        await storage.update_job(first.id, None, lambda job: with_changes(job, test=scored))
        assert await ids(storage, by_score) == [first.id, second.id]

    async def test_a_duration_sorts_as_the_times_of_benchmarks_are(self, storage: Storage) -> None:
        await stored(storage, [finished(each, "n", score=0.5, seconds=9) for each in "ab"])
        by_duration = JobQuery(sort="duration", descending=False)
        for seconds, expected in ((8, ["a", "b"]), (10, ["b", "a"])):
            later = finished("a", "n", score=0.5, seconds=seconds).benchmarks
            await storage.update_job("a", None, lambda job, later=later: with_changes(job, benchmarks=later))
            assert await ids(storage, by_duration) == expected
            exited = msgspec.structs.replace(later[0], exit=Exit(code=0))
            await storage.update_job(
                "a", None, lambda job, exited=exited: with_changes(job, benchmarks=(exited,))
            )
            assert await ids(storage, by_duration) == expected

    async def test_jobs_are_counted_by_the_values_of_their_properties(self, storage: Storage) -> None:
        collection, experiment = {"collection": CollectionRef(id="k")}, {"experiment": Experiment(name="e")}
        await stored(
            storage,
            [
                labelled("a", Model(name="m", url="u"), ("p", "b"), ("p", "c"), ("q", "c"), owner="ada"),
                labelled(
                    "b", Model(name="m"), ("p", "c"), request={**collection, "tags": ("x", "x", "y", "")}
                ),
                labelled(
                    "c", Model(name="n"), ("q", "b"), request={**experiment, "tags": ("x",)}, tenant="t"
                ),
            ],
        )
        await storage.update_job("c", None, lambda job: with_changes(job, state=State.RUNNING))
        expected = {
            "status": {"pending": 2, "running": 1},
            "owner": {"ada": 1},
            "tags": {"x": 2, "y": 1},
            "model_name": {"m": 2, "n": 1},
            "model_url": {"u": 1},
            "provider_id": {"p": 2, "q": 2},
            "benchmark_id": {"b": 2, "c": 2},
            "collection_id": {"k": 1},
            "experiment_name": {"e": 1},
        }
        names = get_args(JobFacetName)
        page = JobQuery(limit=1, offset=2, sort="name", descending=False)
        assert await storage.count_jobs(page, names, 100) == JobCounts(jobs=3, values=expected)
        for query, jobs, providers in (
            (JobQuery(tenant="t"), 1, {"q": 1}),
            (JobQuery(labels={"model_name": any_of("m")}), 2, {"p": 2, "q": 1}),
            (JobQuery(tags=any_of("x", "y"), status=none_of("running")), 1, {"p": 1}),
            (JobQuery(name=any_of("no such name")), 0, {}),
            (JobQuery(name=any_of()), 0, {}),
        ):
            found = await storage.count_jobs(query, ["provider_id"], 100)
            assert found == JobCounts(jobs=jobs, values={"provider_id": providers}), query
        assert await storage.count_jobs(JobQuery(), [], 100) == JobCounts(jobs=3, values={})

    async def test_the_newest_jobs_are_counted(self, storage: Storage) -> None:
        await stored(storage, [a_job(tags=(str(number),)) for number in range(4)])
        for query in (JobQuery(), JobQuery(descending=False), JobQuery(status=any_of("pending", "failed"))):
            found = await storage.count_jobs(query, ["tags", "status"], 3)
            values = {"tags": {"1": 1, "2": 1, "3": 1}, "status": {"pending": 3}}
            assert found == JobCounts(jobs=3, values=values), query

    async def test_counts_have_the_values_as_they_are(self, storage: Storage) -> None:
        odd = ["a'b", "a=b", "\0", "\x01", "a\x01\x03b", "\N{PILE OF POO}", " ", "A"]
        for values in (odd, [*odd, "x" * 3000, "x" * 3000 + "y", "\0" * 399 + "\x03" * 300]):
            jobs = await stored(
                storage,
                [
                    a_job(request=JobRequest(name="j", model=Model(name=value), tags=(value,)))
                    for value in values
                ],
            )
            found = await storage.count_jobs(JobQuery(), ["tags", "model_name"], 100)
            assert found.values == {"tags": dict.fromkeys(values, 1), "model_name": dict.fromkeys(values, 1)}
            for job in jobs:
                await storage.delete_job(job.id, None)

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
