"""The contract of a storage, over SQLite in memory and in a file, with records cached and not."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.plugins import Storage
from evalhub_server.testing.storage_contract import StorageContract
from evalhub_storage_sqlite.storage import SqliteStorage


class TestInMemory(StorageContract):
    def make_storage(self, directory: Path) -> Storage:
        return SqliteStorage(None)


class TestInAFile(StorageContract):
    def make_storage(self, directory: Path) -> Storage:
        return SqliteStorage(directory / "jobs.db")


@pytest.mark.slow
class TestInAFileWithHardlyACache(StorageContract):
    """Nearly everything comes out of the database again, so the encoding is tested too."""

    def make_storage(self, directory: Path) -> Storage:
        return SqliteStorage(directory / "jobs.db", cached_records=1)
