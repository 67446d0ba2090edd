"""What comes back is what was stored, whatever it was; and what cannot come back is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import BenchmarkRecord, ResultRecord, with_changes
from evalhub_server.domain.resource import AnyResource, CollectionRecord, Kind
from evalhub_server.errors import NotFound, StorageError
from evalhub_server.plugins import JobQuery, ResourceQuery
from evalhub_server.testing.builders import a_collection, a_job, a_provider, any_of, none_of
from evalhub_storage_postgres.search import searchable
from harness.postgres import RunningPostgres

ODD = [
    "a\0b",
    "a\x01\x01b",
    "\0",
    "\x01",
    "a" * 3000,
    "a" * 2999 + "b",
    "\N{PILE OF POO}" * 2000,
    "a{b,c}",
    "NULL",
    "",
]


async def test_odd_texts_are_stored_and_found(opened) -> None:
    storage = await opened()
    for text in ODD:
        job = a_job(name=text, tags=(text, text + "!"), owner=text, tenant=text, experiment_id=text)
        await storage.add_job(job)
        assert await storage.get_job(job.id, text) == job
        for field in ("name", "owner", "tags"):
            query = msgspec.structs.replace(JobQuery(tenant=text), **{field: any_of(text)})
            assert (await storage.list_jobs(query)).items == [job], (field, text)
    for text in ODD:
        rest = await storage.list_jobs(JobQuery(name=none_of(text)))
        assert rest.total_count == len(ODD) - 1


async def test_odd_ids_are_ids(opened) -> None:
    storage = await opened()
    for text in ODD:
        provider = a_provider(id=text, name=text, tags=(text,))
        await storage.add_resource(provider)
        assert await storage.get_resource(Kind.PROVIDER, text, None) == provider
        query = ResourceQuery(kind=Kind.PROVIDER, labels={"tags": any_of(text)})
        assert (await storage.list_resources(query)).items == [provider]
    for text in ODD:
        await storage.delete_resource(Kind.PROVIDER, text, None)


def test_what_is_searched_by_sorts_as_the_texts_do() -> None:
    texts = [
        "",
        "\0",
        "\0\0",
        "\0a",
        "\x01",
        "\x01\0",
        "\x01\x01",
        "\x02",
        "a",
        "a\0",
        "a\x01",
        "a\x02",
        "aa",
        "é",
        "\U0001f4a9",
    ]
    assert sorted(texts) == sorted(texts, key=lambda text: searchable(text).encode())
    assert len({searchable(text) for text in (*texts, *ODD)}) == len({*texts, *ODD})


async def test_numbers_stay_as_they_are(opened) -> None:
    storage = await opened()
    numbers = {
        "long": 12345678901234567890,
        "float": 1.0,
        "small": 5e-324,
        "exact": 0.1,
        "nul": "\0",
        "none": None,
    }
    job = a_job(benchmarks=(BenchmarkRecord(index=0, result=ResultRecord(metrics=numbers)),))
    await storage.add_job(job)
    (benchmark,) = (await storage.get_job(job.id, None)).benchmarks
    assert benchmark.result is not None
    assert repr(benchmark.result.metrics) == repr(numbers)


@pytest.mark.parametrize("part", [{"name": "half \ud83d"}, {"tags": ("\udc00",)}, {"tenant": "\ud83d"}])
async def test_a_job_that_cannot_be_written_is_refused(opened, part: dict[str, Any]) -> None:
    storage = await opened()
    with pytest.raises(StorageError, match=r"cannot be stored|failed"):
        await storage.add_job(a_job(**part))
    assert await storage.open_jobs() == []
    with pytest.raises(StorageError):
        await storage.list_jobs(JobQuery(name=any_of("\ud83d")))


async def test_a_number_that_could_not_be_read_back_is_refused(opened) -> None:
    storage = await opened()
    job = a_job()
    await storage.add_job(job)
    plan = msgspec.structs.replace(job.plan, threshold=float("inf"))
    with pytest.raises(StorageError, match=f"Job {job.id} cannot be stored"):
        await storage.update_job(job.id, None, lambda now: with_changes(now, plan=plan))
    assert await storage.get_job(job.id, None) == job


@pytest.mark.parametrize("name", ["id", "tenant", "owner"])
async def test_a_change_cannot_make_another_record_of_it(opened, name: str) -> None:
    storage = await opened()
    job, provider = a_job(), a_provider()
    await storage.add_job(job)
    await storage.add_resource(provider)
    with pytest.raises(StorageError, match="must keep"):
        await storage.update_job(job.id, None, lambda now: with_changes(now, **{name: "x"}))
    with pytest.raises(StorageError, match="must keep"):
        await storage.update_resource(
            Kind.PROVIDER, provider.id, None, lambda now: msgspec.structs.replace(now, **{name: "x"})
        )
    assert await storage.get_job(job.id, None) == job


# --- documents of another shape


async def test_a_job_that_cannot_be_read_keeps_no_server_from_starting_and_can_be_deleted(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened()
    broken, whole = a_job(), a_job()
    await storage.add_job(broken)
    await storage.add_job(whole)
    await postgres.sql(f"UPDATE {schema}.evalhub_jobs SET progress = '{{}}' WHERE id = $1", broken.id)  # noqa: S608
    assert await storage.open_jobs() == [whole]
    with pytest.raises(StorageError, match=f"Job {broken.id} cannot be read back"):
        await storage.get_job(broken.id, None)
    await storage.delete_job(broken.id, None)
    with pytest.raises(NotFound):
        await storage.get_job(broken.id, None)


async def test_what_the_system_has_in_another_shape_is_replaced_and_keeps_its_runs(
    postgres: RunningPostgres, schema: str, opened
) -> None:
    storage = await opened()
    collection = a_collection(owner="system", run_count=0)

    def count(record: AnyResource) -> AnyResource:
        assert isinstance(record, CollectionRecord)
        return msgspec.structs.replace(record, run_count=record.run_count + 7)

    await storage.replace_system([collection])
    await storage.update_resource(Kind.COLLECTION, collection.id, None, count)
    await postgres.sql(f"UPDATE {schema}.evalhub_resources SET doc = '[]'")  # noqa: S608
    later = a_collection(id=collection.id, owner="system", name="new")
    await storage.replace_system([later])
    expected = msgspec.structs.replace(later, created_at=collection.created_at, run_count=7)
    assert await storage.get_resource(Kind.COLLECTION, collection.id, None) == expected
