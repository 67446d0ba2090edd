"""Storages over SQLite, open."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from evalhub_storage_sqlite.schema import migrate
from evalhub_storage_sqlite.storage import SqliteStorage


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(tmp_path / "jobs.db")
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def uncached(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(tmp_path / "uncached.db", cached_records=1)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
async def memory() -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(None)
    await storage.open()
    yield storage
    await storage.close()


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, None)
    yield connection
    connection.close()
