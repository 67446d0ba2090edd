"""The contract of a storage, over a real PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from evalhub_server.plugins import Storage
from evalhub_server.testing.shared_storage_contract import SharedStorageContract
from evalhub_server.testing.storage_contract import StorageContract
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import RunningPostgres

URL = "CONTRACT_DATABASE"
"""Variable with the address of the test's database, which another process reads, too."""


class TestPostgres(StorageContract):
    @pytest.fixture(autouse=True)
    def database(self, postgres: RunningPostgres, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(URL, postgres.url(schema))

    def make_storage(self, directory: Path) -> Storage:
        return PostgresStorage(locate(os.environ[URL]), patience_s=0)

    @pytest_asyncio.fixture
    async def storage(self, opened) -> AsyncGenerator[Storage]:
        yield await opened()


@pytest.mark.slow
class TestPostgresWithOneConnection(TestPostgres):
    """Everything has to wait for everything else."""

    @pytest_asyncio.fixture
    async def storage(self, opened) -> AsyncGenerator[Storage]:
        yield await opened(max_connections=1)


class TestSharedPostgres(SharedStorageContract):
    @pytest_asyncio.fixture
    async def pair(self, opened) -> tuple[PostgresStorage, PostgresStorage]:
        return await opened(shared=True), await opened(shared=True)
