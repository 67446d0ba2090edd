"""The in-memory storage keeps the contract that it is the reference of."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.plugins import Storage
from evalhub_server.testing.memory import MemoryStorage
from evalhub_server.testing.storage_contract import StorageContract


class TestMemoryStorage(StorageContract):
    def make_storage(self, directory: Path) -> Storage:
        return MemoryStorage()


def test_the_contract_asks_its_subclass_for_a_storage(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="how to make the storage"):
        StorageContract().make_storage(tmp_path)
