"""Databases of other versions, of other programs, and broken ones."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_server.domain.record import with_changes
from evalhub_server.domain.resource import Kind
from evalhub_server.errors import NotFound, StartupError, StorageError
from evalhub_server.models.common import State
from evalhub_server.plugins import JobMigration, JobQuery
from evalhub_server.testing.builders import a_job, a_provider, any_of
from evalhub_storage_sqlite.schema import MIGRATIONS, migrate
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.earlier_database import check_migrated, dump

ADD_NOTES = ("CREATE TABLE notes (text TEXT)", "INSERT INTO notes VALUES ('from the second step')")
BROKEN = ("CREATE TABLE half (way TEXT)", "CREATE TABLE half (way TEXT)")


def connect(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


def version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


async def filled(path: Path) -> SqliteStorage:
    storage = SqliteStorage(path)
    await storage.open()
    await storage.add_job(a_job(id="a-job"))
    await storage.close()
    return storage


def test_an_older_database_is_brought_up_to_date_once(tmp_path: Path) -> None:
    with connect(tmp_path / "jobs.db") as connection:
        migrate(connection, None)
        assert version(connection) == len(MIGRATIONS)
        for _ in range(2):
            migrate(connection, None, (*MIGRATIONS, ADD_NOTES))
            assert version(connection) == len(MIGRATIONS) + 1
            assert connection.execute("SELECT * FROM notes").fetchall() == [("from the second step",)]


@pytest.mark.parametrize("runtime", ["local", ""])
@pytest.mark.parametrize("with_open_jobs", [True, False])
async def test_a_database_of_schema_version_2_keeps_everything(
    tmp_path: Path, runtime: str, with_open_jobs: bool
) -> None:
    path = tmp_path / "jobs.db"
    with connect(path) as connection:
        connection.executescript(dump("sqlite", with_open_jobs=with_open_jobs))
    storage = SqliteStorage(
        path, migration=JobMigration(runtime=runtime, tracker="mlflow" if runtime else "")
    )
    for _ in range(2):
        await storage.open()
        await check_migrated(storage, with_open_jobs=with_open_jobs, runtime=runtime)
        await storage.close()


async def test_the_jobs_of_a_database_without_resources_stay(tmp_path: Path) -> None:
    with connect(tmp_path / "jobs.db") as connection:
        connection.executescript(dump("sqlite", with_open_jobs=True))
        connection.executescript("DROP TABLE resource_labels; DROP TABLE resources; PRAGMA user_version = 1")
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    assert (await storage.list_jobs(JobQuery())).total_count == 6
    assert [job.id for job in (await storage.list_jobs(JobQuery(tags=any_of("x")))).items] == [
        "cancelled",
        "completed",
    ]
    provider = a_provider()
    await storage.add_resource(provider)
    assert await storage.get_resource(Kind.PROVIDER, provider.id, None) == provider
    await storage.close()


async def test_an_unreadable_job_does_not_keep_a_database_from_being_migrated(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with connect(path) as connection:
        connection.executescript(dump("sqlite", with_open_jobs=True))
        connection.execute("UPDATE jobs SET head = '{' WHERE id = 'pending'")
    storage = SqliteStorage(path)
    await storage.open()
    assert [job.id for job in await storage.open_jobs()] == ["running", "exporting"]
    await storage.delete_job("pending", None)
    await storage.close()


def test_a_step_that_fails_leaves_the_database_at_the_step_before(tmp_path: Path) -> None:
    with connect(tmp_path / "jobs.db") as connection:
        with pytest.raises(sqlite3.OperationalError, match="half already exists"):
            migrate(connection, None, (*MIGRATIONS, ADD_NOTES, BROKEN))
        assert version(connection) == len(MIGRATIONS) + 1
        assert not connection.in_transaction
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        assert "notes" in tables
        assert "half" not in tables


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    storage = await filled(path)
    with connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StartupError, match=r"jobs\.db has schema version 99.*Start the newer server"):
        await storage.open()
    with connect(path) as connection:
        assert version(connection) == 99


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with connect(path) as connection:
        connection.execute("CREATE TABLE evaluations (id TEXT)")
    with pytest.raises(StartupError, match=r"theirs\.db belongs to another program"):
        await SqliteStorage(path).open()
    with connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("evaluations",)]


async def test_a_file_that_is_not_a_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    text = "Dear diary, today I named the wrong file. " * 100
    path.write_text(text)
    with pytest.raises(StartupError, match=r"notes\.txt cannot be opened: file is not a database.*backup"):
        await SqliteStorage(path).open()
    assert path.read_text() == text


async def test_a_directory_is_not_a_database(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be opened: Is a directory"):
        await SqliteStorage(tmp_path).open()


async def test_a_job_that_cannot_be_decoded_is_named_and_can_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    storage = await filled(path)
    with connect(path) as connection:
        connection.execute("UPDATE jobs SET progress = '{}'")
    await storage.open()
    try:
        for call in (
            partial(storage.get_job, "a-job", None),
            partial(storage.update_job, "a-job", None, lambda job: job),
            partial(storage.list_jobs, JobQuery()),
        ):
            with pytest.raises(StorageError, match=r"Job a-job cannot be read back: .*Delete the job"):
                await call()
        # The server must start: how else could the job be deleted?
        other = a_job()
        await storage.add_job(other)
        assert await storage.open_jobs() == [other]
        await storage.delete_job("a-job", None)
        with pytest.raises(NotFound):
            await storage.get_job("a-job", None)
    finally:
        await storage.close()


async def test_damage_found_while_reading_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    storage = await filled(path)
    size = path.stat().st_size
    with path.open("r+b") as file:  # the first page, with the schema, stays
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))

    async def open_and_read() -> None:
        await storage.open()
        await storage.get_job("a-job", None)

    with pytest.raises((StorageError, StartupError), match=r"malformed.*restore it from a backup"):
        await open_and_read()
    await storage.close()


async def test_counts_of_jobs_are_exact_after_a_migration_and_after_writes(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with connect(path) as connection:
        connection.executescript(dump("sqlite", with_open_jobs=True))
    storage = SqliteStorage(path)
    await storage.open()
    job = a_job(tenant="team-a", tags=("nightly", "old"))
    await storage.add_job(job)
    await storage.update_job(job.id, None, lambda job: with_changes(job, state=State.RUNNING))
    request = replace(job.request, tags=("nightly", "new"))
    await storage.update_job(job.id, None, lambda job: with_changes(job, request=request))
    await storage.add_job(a_job(id="gone", tenant="team-b", tags=("nightly", "gone")))
    await storage.delete_job("gone", None)
    await storage.close()
    with connect(path) as connection:
        kept = connection.execute("SELECT tenant, state, jobs FROM job_counts WHERE jobs <> 0").fetchall()
        counted = connection.execute("SELECT tenant, state, count(*) FROM jobs GROUP BY tenant, state")
        assert sorted(kept) == sorted(counted)
        assert ("team-a", "running", 1) in kept
        labels = connection.execute("SELECT * FROM job_label_counts").fetchall()
        assert ("tags", "new", "team-a", 1) in labels
        counted = connection.execute("SELECT label, value, tenant, count(*) FROM job_labels GROUP BY 1, 2, 3")
        assert sorted(labels) == sorted(counted)
