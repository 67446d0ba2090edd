"""Providers and collections: how little is written and read, faults, damage, restarts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.resource import AnyResource, Kind
from evalhub_server.errors import NotFound, StorageError
from evalhub_server.plugins import JobQuery, ResourceQuery
from evalhub_server.testing.builders import EPOCH, a_collection, a_job, a_provider, any_of
from evalhub_server.testing.resource_contract import COLLECTIONS, PROVIDERS, count_run, kept, rename
from evalhub_server.testing.storage_contract import count_up
from evalhub_storage_sqlite.connection import Connection, write
from evalhub_storage_sqlite.record_mapper import Transaction
from evalhub_storage_sqlite.resources import RESOURCES
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.sqlite import connection_of, count_hops, fill_the_disk, free_the_disk


def renaming(storage: SqliteStorage, record: AnyResource, name: str) -> Any:
    return storage.update_resource(Kind.PROVIDER, record.id, None, rename(name))


# --- how little it writes and reads


async def test_a_run_that_is_counted_writes_one_row_and_leaves_the_lists(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = a_collection(config={"tags": ("x",)})
    await storage.add_resource(collection)
    await storage.list_resources(COLLECTIONS)
    rows, hops = connection_of(storage).total_changes, count_hops(monkeypatch)
    counting = (storage.update_resource(Kind.COLLECTION, collection.id, None, count_run) for _ in range(50))
    *_, after = await asyncio.gather(*counting)
    assert (await storage.list_resources(COLLECTIONS)).items[0] is after
    assert hops == ["write"]
    assert connection_of(storage).total_changes - rows == 1


async def test_jobs_providers_and_collections_share_a_batch_and_not_their_lists(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, provider, collection = a_job(), a_provider(), a_collection()
    await asyncio.gather(storage.add_job(job), *map(storage.add_resource, (provider, collection)))
    labelled = ResourceQuery(kind=Kind.PROVIDER, labels={"tags": any_of("x")})

    async def answers() -> list[int]:
        return [
            (await storage.list_jobs(JobQuery())).total_count,
            *[
                (await storage.list_resources(each)).total_count
                for each in (PROVIDERS, labelled, COLLECTIONS)
            ],
        ]

    assert await answers() == [1, 1, 0, 1]
    hops = count_hops(monkeypatch)
    await asyncio.gather(
        storage.update_job(job.id, None, count_up),
        renaming(storage, provider, "renamed"),
        storage.update_resource(Kind.COLLECTION, collection.id, None, count_run),
    )
    assert hops == ["write"]
    assert await answers() == [1, 1, 0, 1]
    assert hops == ["write", "read", "read"]  # the two lists of providers


async def test_a_replacement_is_one_transaction_with_what_else_is_written(
    uncached: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [a_provider(owner="system") for _ in range(20)]
    mine = a_provider(tenant="team-a")
    hops = count_hops(monkeypatch)
    await asyncio.gather(uncached.add_resource(mine), uncached.replace_system(records[:10]))
    assert hops == ["read", "read", "write"]  # what the system has; the rows that are not cached
    await uncached.replace_system(records[5:])
    assert (await uncached.list_resources(PROVIDERS)).total_count == 16


async def test_a_replacement_by_the_same_writes_nothing_and_keeps_the_objects(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [a_provider(owner="system"), a_collection(owner="system")]
    await storage.replace_system(records)
    again = [
        msgspec.structs.replace(
            record,
            created_at=EPOCH + timedelta(days=1),
            updated_at=EPOCH + timedelta(days=1),
            config=msgspec.structs.replace(record.config),
        )
        for record in records
    ]
    hops = count_hops(monkeypatch)
    await storage.replace_system(again)
    assert hops == ["read"]
    assert await storage.get_resource(Kind.PROVIDER, records[0].id, None) is records[0]
    assert await storage.get_resource(Kind.COLLECTION, records[1].id, None) is records[1]


async def test_reads_return_the_very_object_that_the_write_left(storage: SqliteStorage) -> None:
    provider = a_provider()
    await storage.add_resource(provider)
    assert await storage.get_resource(Kind.PROVIDER, provider.id, None) is provider
    after = await renaming(storage, provider, "renamed")
    for limit in (1, 1, 2):  # from the database, remembered, from the database again
        query = msgspec.structs.replace(PROVIDERS, limit=limit)
        assert (await storage.list_resources(query)).items[0] is after
    assert await storage.get_resource(Kind.PROVIDER, provider.id, None) is after


async def test_a_list_that_is_remembered_is_read_again_if_its_records_are_not(
    uncached: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(uncached, [a_provider(), a_provider()])
    hops = count_hops(monkeypatch)
    first = await uncached.list_resources(PROVIDERS)
    assert await uncached.list_resources(PROVIDERS) == first
    assert hops == ["read", "read"]


async def test_readers_see_a_replacement_only_once_it_is_committed(storage: SqliteStorage) -> None:
    old, new = a_provider(owner="system"), a_provider(owner="system")
    await storage.replace_system([old])
    with closing(sqlite3.connect(storage._path or "", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the commit has to wait for this
        replacing = asyncio.create_task(storage.replace_system([new]))
        for limit in range(1, 21):
            query = msgspec.structs.replace(PROVIDERS, limit=limit)
            assert (await storage.list_resources(query)).items == [old]
            assert await storage.get_resource(Kind.PROVIDER, old.id, None) is old
            with pytest.raises(NotFound):
                await storage.get_resource(Kind.PROVIDER, new.id, None)
        assert not replacing.done()
        other.execute("ROLLBACK")
    await replacing
    assert (await storage.list_resources(PROVIDERS)).items == [new]


async def test_between_a_commit_and_its_outcome_no_list_mixes_old_and_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, go_on = asyncio.Event(), asyncio.Event()
    original = Connection.call

    async def slow_to_return(self: Connection, function: Any, *args: Any) -> Any:
        result = await original(self, function, *args)
        if function is write:
            committed.set()
            await go_on.wait()
        return result

    def both(name: str) -> list[AnyResource]:
        return [a_provider(id=each, owner="system", name=name) for each in ("a", "b")]

    async def names() -> set[str]:
        query = msgspec.structs.replace(PROVIDERS, system=True)
        return {record.config.name for record in (await storage.list_resources(query)).items}

    storage = SqliteStorage(tmp_path / "jobs.db", cached_records=3)
    await storage.open()
    await storage.replace_system(both("old"))
    others = await kept(storage, [a_provider(), a_provider()])
    assert await names() == {"old"}
    await storage.get_resource(Kind.PROVIDER, "a", None)
    for other in others:
        await storage.get_resource(Kind.PROVIDER, other.id, None)
    await storage.get_resource(Kind.PROVIDER, "a", None)  # so that of the two only this one is cached

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "call", slow_to_return)
        replacing = asyncio.create_task(storage.replace_system(both("new")))
        await committed.wait()
        assert (await storage.get_resource(Kind.PROVIDER, "b", None)).config.name == "new"
        assert await names() == {"new"}
        assert await names() == {"new"}
        go_on.set()
        await replacing
    assert await names() == {"new"}
    await storage.close()


# --- faults


@pytest.mark.parametrize(
    "broken",
    [
        {"config": {"custom": {"not": object()}}},
        {"config": {"curation_order": 2**63}},
        {"config": {"tags": ("\ud800",)}},
        {"pinned_order": 2**70},
        {"run_count": 2**63},
        {"derived_from": "\ud800"},
        {"owner": "\ud800"},
        {"created_at": EPOCH.replace(tzinfo=None)},
    ],
)
async def test_a_resource_that_cannot_be_written_fails_alone(
    storage: SqliteStorage, broken: dict[str, Any]
) -> None:
    bad, good = a_collection(id="bad", **broken), a_collection(id="good")
    calls: list[Any] = [storage.add_resource(bad), storage.add_resource(good)]
    if "owner" not in broken:  # that would be a tenant's
        system = msgspec.structs.replace(bad, owner="system")
        calls.append(storage.replace_system([a_provider(owner="system"), system]))
    if not {"owner", "created_at"} & {*broken}:  # these a change has to keep anyway
        become_bad = msgspec.structs.replace(bad, id="good", created_at=good.created_at)
        calls.append(storage.update_resource(Kind.COLLECTION, "good", None, lambda _: become_bad))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[1] is None
    for result in (results[0], *results[2:]):
        assert isinstance(result, StorageError)
        assert "cannot be stored, since a part of it cannot be written" in str(result)
    assert (await storage.list_resources(COLLECTIONS)).items == [good]
    assert (await storage.list_resources(PROVIDERS)).items == []


@pytest.mark.parametrize(
    "other", [{"id": "another"}, {"tenant": "another"}, {"owner": "another"}, {"created_at": EPOCH}]
)
async def test_a_change_keeps_what_identifies_the_resource(
    storage: SqliteStorage, other: dict[str, Any]
) -> None:
    provider = a_provider()
    await storage.add_resource(provider)
    with pytest.raises(StorageError, match=f"Provider {provider.id}.*must keep"):
        await storage.update_resource(
            Kind.PROVIDER, provider.id, None, lambda now: msgspec.structs.replace(now, **other)
        )
    with pytest.raises(StorageError, match="must keep kind, id"):
        await storage.update_resource(
            Kind.PROVIDER, provider.id, None, lambda now: a_collection(id=now.id, created_at=now.created_at)
        )
    assert await storage.get_resource(Kind.PROVIDER, provider.id, None) is provider


async def test_a_full_disk_fails_a_replacement_and_changes_nothing(storage: SqliteStorage) -> None:
    old, mine = a_provider(owner="system"), a_provider(tenant="team-a")
    await storage.replace_system([old])
    await storage.add_resource(mine)
    await fill_the_disk(storage)
    replacing = partial(storage.replace_system, [a_provider(owner="system", size=3000)])
    with pytest.raises(
        StorageError, match=r"Replacing the system's providers and collections failed: .*full"
    ):
        await replacing()
    assert (await storage.list_resources(PROVIDERS)).items == [mine, old]
    await free_the_disk(storage)
    await replacing()
    assert len((await storage.list_resources(PROVIDERS)).items[0].config.benchmarks) == 3000


async def test_reads_of_resources_report_faults_of_the_database(uncached: SqliteStorage) -> None:
    await connection_of(uncached).call(lambda connection: connection.execute("DROP TABLE resources"))
    for call, doing in (
        (uncached.get_resource(Kind.PROVIDER, "unknown", None), "Reading provider unknown"),
        (uncached.list_resources(COLLECTIONS), "Listing collections"),
        (renaming(uncached, a_provider(), "x"), "Updating provider"),
        (uncached.replace_system([]), "Replacing the system's providers and collections"),
    ):
        with pytest.raises(StorageError, match=f"{doing}.* failed: no such table"):
            await call


def test_an_insert_with_columns_missing_is_refused() -> None:
    family, provider = RESOURCES[Kind.PROVIDER], a_provider()
    changes = family.changes(provider, rename("x")(provider) or provider)
    with pytest.raises(ValueError, match="some of its columns are missing"):
        family.insert(Transaction(family.statements), 1, provider, changes)


# --- damage and restarts


async def test_resources_are_there_after_a_restart(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    collection = a_collection(config={"tags": ("x",)}, created_at=EPOCH + timedelta(microseconds=7))
    await kept(storage, [a_provider(id="p", tenant="team-a", size=5), collection])
    await storage.replace_system([a_provider(id="s", owner="system")])
    await storage.add_job(a_job())
    counted = await storage.update_resource(Kind.COLLECTION, collection.id, None, count_run)
    before = await storage.list_resources(PROVIDERS)
    await storage.close()
    with pytest.raises(StorageError, match="not open"):
        await storage.get_resource(Kind.PROVIDER, "p", None)
    await storage.open()
    assert await storage.list_resources(PROVIDERS) == before
    assert await storage.get_resource(Kind.COLLECTION, collection.id, None) == counted
    await storage.replace_system([])
    await kept(storage, [a_provider(), a_collection()])  # with keys of their own
    assert (await storage.list_resources(PROVIDERS)).total_count == 2
    await storage.close()


async def test_a_resource_that_cannot_be_decoded_is_named_and_can_be_deleted_or_replaced(
    tmp_path: Path,
) -> None:
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    mine, system = a_provider(id="mine"), a_collection(id="theirs", owner="system")
    await storage.add_resource(mine)
    await storage.replace_system([system])
    await storage.update_resource(Kind.COLLECTION, "theirs", None, count_run)
    await storage.close()
    with closing(sqlite3.connect(tmp_path / "jobs.db", isolation_level=None)) as connection:
        connection.execute("""UPDATE resources SET doc = '{"name": 7}'""")
    await storage.open()
    try:
        for call in (
            partial(storage.get_resource, Kind.PROVIDER, "mine", None),
            partial(renaming, storage, mine, "x"),
            partial(storage.list_resources, PROVIDERS),
        ):
            with pytest.raises(
                StorageError, match=r"Provider mine cannot be read back: .*Delete the provider"
            ):
                await call()
        await storage.delete_resource(Kind.PROVIDER, "mine", None)
        assert (await storage.list_resources(PROVIDERS)).items == []

        later = a_collection(id="theirs", owner="system", config={"tags": ("x",)})
        await storage.replace_system([later])
        assert await storage.get_resource(Kind.COLLECTION, "theirs", None) == msgspec.structs.replace(
            later, created_at=system.created_at, run_count=1
        )
        query = msgspec.structs.replace(COLLECTIONS, labels={"tags": any_of("x")})
        assert (await storage.list_resources(query)).total_count == 1
    finally:
        await storage.close()
