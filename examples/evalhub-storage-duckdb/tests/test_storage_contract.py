"""The server's contract suites over the storage."""

from pathlib import Path
from typing import ClassVar

import pytest

from evalhub_server.plugins import StartupError, StorageLost
from evalhub_server.testing import PluginContract, StorageContract, a_job
from evalhub_storage_duckdb.storage import DuckdbStorage


class TestDuckdbStorage(StorageContract):
    def make_storage(self, directory: Path) -> DuckdbStorage:
        return DuckdbStorage(directory / "evalhub.duckdb")


class TestPlugin(PluginContract):
    entry_point = "evalhub_storage_duckdb"
    sections: ClassVar = {"duckdb": {"file": "evalhub.duckdb"}}


@pytest.mark.asyncio
async def test_a_removed_file_is_noticed(tmp_path: Path):
    storage = DuckdbStorage(tmp_path / "evalhub.duckdb")
    await storage.open()
    (tmp_path / "evalhub.duckdb").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageLost, match="removed or replaced"):
        await storage.verify()
    with pytest.raises(StorageLost, match="removed or replaced"):
        await storage.add_job(a_job())
    await storage.close()


@pytest.mark.asyncio
async def test_another_file_is_not_opened(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("no database")
    with pytest.raises(StartupError, match=r"notes\.txt cannot be opened.*duckdb\.file"):
        await DuckdbStorage(tmp_path / "notes.txt").open()
