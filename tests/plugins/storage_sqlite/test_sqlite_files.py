"""Files of a database: other users' are refused, a removed or replaced one is noticed, a damaged one is not used."""

# ruff: noqa: ASYNC240 - the tests prepare small local files

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from evalhub_server.errors import StartupError, StorageLost
from evalhub_server.plugins import JobQuery
from evalhub_server.testing.builders import a_job
from evalhub_storage_sqlite.database_files import DatabaseFiles
from evalhub_storage_sqlite.storage import SqliteStorage

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
OTHER_USER = 65534
SUFFIXES = ("", ".lock", "-wal", "-shm", "-journal")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(0o700)
    return folder


async def refusal(path: Path) -> str:
    storage = SqliteStorage(path)
    with pytest.raises(StartupError) as error:
        await storage.open()
    await storage.close()
    return str(error.value)


async def filled(path: Path, jobs: int = 400) -> None:
    """Create a database of several hundred pages and close it."""
    storage = SqliteStorage(path)
    await storage.open()
    for _ in range(jobs):
        await storage.add_job(a_job(size=3, tags=("x",)))
    await storage.close()


async def abandoned(path: Path) -> None:
    """Leave a database as a killed server does: with a holder in its lock file."""
    path.with_name(path.name + ".lock").write_text("4711")


def damage(path: Path) -> None:
    """Overwrite the pages after the first, where tables and indices are."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def damage_one_table(path: Path) -> None:
    """Overwrite a part of the table of benchmarks, which a start does not read."""
    with closing(sqlite3.connect(path)) as database:
        (page,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'benchmarks'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 8)
        file.write(b"\xff" * 64)


# --- planted files


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_planted_link_is_refused_and_its_target_kept(data: Path, suffix: str) -> None:
    precious = data.parent / "precious"
    precious.write_text("keep me")
    if suffix:
        (data / f"jobs.db{suffix}").symlink_to(precious)
        assert "symbolic link" in await refusal(data / "jobs.db")
    else:
        (data / "jobs.db").symlink_to(precious)
        assert "not a database" in await refusal(data / "jobs.db")
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_planted_hard_link_is_refused_and_its_target_kept(data: Path, suffix: str) -> None:
    precious = data.parent / "precious"
    precious.write_text("keep me")
    (data / f"jobs.db{suffix}").hardlink_to(precious)
    assert "hard links" in await refusal(data / "jobs.db")
    assert precious.read_text() == "keep me"


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_a_pipe_is_refused_without_waiting_for_it(data: Path, suffix: str) -> None:
    os.mkfifo(data / f"jobs.db{suffix}")
    assert "not a regular file" in await refusal(data / "jobs.db")


@needs_root
@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_another_users_file_is_refused(data: Path, suffix: str) -> None:
    file = data / f"jobs.db{suffix}"
    file.write_text("planted")
    os.chown(file, OTHER_USER, OTHER_USER)
    assert f"another user (uid {OTHER_USER})" in await refusal(data / "jobs.db")
    assert file.read_text() == "planted"


@needs_root
async def test_another_users_link_to_a_database_is_refused_and_ones_own_followed(data: Path) -> None:
    link = data.parent / "link.db"
    link.symlink_to(data / "jobs.db")
    storage = SqliteStorage(link)
    await storage.open()
    await storage.close()
    os.chown(link, OTHER_USER, OTHER_USER, follow_symlinks=False)
    assert f"a symbolic link of another user (uid {OTHER_USER})" in await refusal(link)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
async def test_a_directory_that_others_can_write_is_refused(data: Path, mode: int) -> None:
    data.chmod(mode)
    text = await refusal(data / "jobs.db")
    assert "other users" in text
    # A sticky directory, such as /tmp, is meant for all users, so it should stay as it is.
    assert (f"chmod go-w {data}" in text) is (mode != 0o1777)
    assert list(data.iterdir()) == []


async def test_a_file_that_others_can_write_is_refused(data: Path) -> None:
    (data / "jobs.db").touch(0o600)
    (data / "jobs.db").chmod(0o666)
    assert f"chmod go-w {data / 'jobs.db'}" in await refusal(data / "jobs.db")


@needs_root
async def test_the_group_of_a_volume_is_permitted_where_no_adapters_run(data: Path) -> None:
    os.chown(data, 0, 4242)
    data.chmod(0o2775)
    path = data / "evalhub.db"
    assert "other users" in await refusal(path)
    for _ in range(2):
        storage = SqliteStorage(path, shared=True)
        await storage.open()
        await storage.add_job(a_job())
        await storage.close()
        for file in data.iterdir():  # as the kubelet does when it mounts the volume for the next pod
            os.chown(file, 1000, 4242)
            file.chmod(0o660)


# --- removed, replaced, moved


def remove_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def move_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def replace_directory(path: Path) -> None:
    move_directory(path)
    path.parent.mkdir()


def copy_directory(path: Path) -> None:
    move_directory(path)
    shutil.copytree(path.parent.with_name("elsewhere"), path.parent)


def remove_database(path: Path) -> None:
    path.unlink()


def replace_database(path: Path) -> None:
    path.rename(path.with_name("old.db"))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")


def remove_lock(path: Path) -> None:
    path.with_name(path.name + ".lock").unlink()


def replace_lock(path: Path) -> None:
    remove_lock(path)
    path.with_name(path.name + ".lock").touch()


LOSSES = [
    remove_directory,
    move_directory,
    replace_directory,
    copy_directory,
    remove_database,
    replace_database,
    remove_lock,
    replace_lock,
]


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_lost_file_is_noticed_and_no_write_acknowledged(
    data: Path, lose: Callable[[Path], None]
) -> None:
    storage = SqliteStorage(data / "jobs.db")
    await storage.open()
    job = a_job()
    await storage.add_job(job)
    await storage.verify()
    lose(data / "jobs.db")
    with pytest.raises(StorageLost, match=r"was (re)?mov|was replaced"):
        await storage.verify()
    with pytest.raises(StorageLost, match="start the server again"):
        await storage.add_job(a_job())
    assert await storage.get_job(job.id, None) == job
    await storage.close()


async def test_closing_leaves_a_database_alone_that_took_the_place_of_its_own(data: Path) -> None:
    path = data / "jobs.db"
    storage = SqliteStorage(path)
    await storage.open()
    await storage.add_job(a_job())
    move_directory(path)
    data.mkdir(0o700)
    other = SqliteStorage(path)
    await other.open()
    job = a_job()
    await other.add_job(job)
    wal = path.with_name("jobs.db-wal")
    before = wal.stat().st_size
    await storage.close()
    assert wal.stat().st_size == before > 0
    await other.add_job(a_job())
    await other.close()
    await storage.open()
    assert await storage.get_job(job.id, None) == job
    assert (await storage.list_jobs(JobQuery())).total_count == 2
    await storage.close()


@pytest.mark.skipif(sys.platform != "linux", reason="flock and SQLite's locks conflict elsewhere")
async def test_a_removed_lock_lets_no_second_one_in(data: Path) -> None:
    path = data / "jobs.db"
    files = DatabaseFiles(path)
    files.claim()
    remove_lock(path)
    assert "in use by another server" in await refusal(path)
    files.release(clean=True)
    storage = SqliteStorage(path)
    await storage.open()
    await storage.close()


# --- after an unclean stop


async def test_a_damaged_database_is_refused_after_an_unclean_stop(data: Path) -> None:
    path = data / "jobs.db"
    await filled(path)
    damage(path)
    await abandoned(path)
    before = path.read_bytes()
    text = await refusal(path)
    assert "is damaged" in text
    assert "Restore jobs.db from a backup" in text or "restore it from a backup" in text
    assert path.read_bytes() == before


async def test_damage_that_a_start_does_not_meet_is_found_after_an_unclean_stop(data: Path) -> None:
    path = data / "jobs.db"
    await filled(path)
    damage_one_table(path)
    before = path.read_bytes()
    await abandoned(path)
    text = await refusal(path)
    assert f"The database {path} is damaged: " in text
    assert "Restore jobs.db from a backup and remove jobs.db-wal and jobs.db-shm" in text
    assert path.read_bytes() == before
    assert "is damaged" in await refusal(path)


async def test_damage_that_is_found_in_the_background_stops_writes(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data / "jobs.db"
    await filled(path)
    damage_one_table(path)
    await abandoned(path)
    monkeypatch.setattr("evalhub_storage_sqlite.verification.START_DELAY_S", 0)
    storage = SqliteStorage(path)
    await storage.open()
    with pytest.raises(StorageLost, match="is damaged: "):  # noqa: PT012  the condition is the exception
        async with asyncio.timeout(30):
            while True:
                await storage.verify()
    with pytest.raises(StorageLost, match="is damaged: "):
        await storage.add_job(a_job())
    await storage.close()
    monkeypatch.undo()
    assert "is damaged: " in await refusal(path)


async def test_a_sound_database_is_verified_and_opened_after_an_unclean_stop(data: Path) -> None:
    path = data / "jobs.db"
    await filled(path, jobs=3)
    lock = path.with_name("jobs.db.lock")
    assert lock.read_text() == ""
    await abandoned(path)
    storage = SqliteStorage(path)
    await storage.open()
    assert (await storage.list_jobs(JobQuery())).total_count == 3
    assert lock.read_text() == str(os.getpid())
    await storage.close()
    assert lock.read_text() == ""


async def test_an_empty_database_beside_job_directories_is_refused(data: Path) -> None:
    path = data / "evalhub.db"
    (data / "jobs").mkdir()
    storage = SqliteStorage(path)
    await storage.open()
    await storage.close()
    (data / "jobs" / "a-job").mkdir()
    path.write_bytes(b"")
    text = await refusal(path)
    assert "is empty (0 bytes)" in text
    assert "remove it to start with an empty database" in text
    assert path.stat().st_size == 0
    path.unlink()
    await storage.open()
    await storage.close()


async def test_an_empty_database_of_an_interrupted_first_start_is_used(data: Path) -> None:
    (data / "jobs" / "a-job").mkdir(parents=True)
    files = DatabaseFiles(data / "evalhub.db")
    files.claim()
    files.release(clean=False)
    assert (data / "evalhub.db").stat().st_size == 0
    storage = SqliteStorage(data / "evalhub.db")
    await storage.open()
    await storage.close()


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.write_bytes(b"")])
async def test_records_in_the_log_of_a_lost_database_are_not_discarded(
    data: Path, lose: Callable[[Path], None]
) -> None:
    path = data / "jobs.db"
    storage = SqliteStorage(path)
    await storage.open()
    await storage.add_job(a_job())
    copy = data.parent / "copy"
    shutil.copytree(data, copy)  # as after a kill
    await storage.close()
    (copy / "jobs.db.lock").write_text("4711")
    lose(copy / "jobs.db")
    before = (copy / "jobs.db-wal").read_bytes()
    assert "its write-ahead log" in await refusal(copy / "jobs.db")
    assert (copy / "jobs.db-wal").read_bytes() == before != b""
