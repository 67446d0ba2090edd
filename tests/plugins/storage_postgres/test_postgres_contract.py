"""The contract of a storage, over a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest_asyncio

from evalhub_server.plugins import Storage
from evalhub_server.testing.shared_storage_contract import SharedStorageContract
from evalhub_server.testing.storage_contract import StorageContract
from evalhub_storage_postgres.storage import PostgresStorage


class TestPostgres(StorageContract):
    @pytest_asyncio.fixture
    async def storage(self, opened) -> AsyncGenerator[Storage]:
        yield await opened()


class TestPostgresWithOneConnection(StorageContract):
    """Everything has to wait for everything else."""

    @pytest_asyncio.fixture
    async def storage(self, opened) -> AsyncGenerator[Storage]:
        yield await opened(max_connections=1)


class TestSharedPostgres(SharedStorageContract):
    @pytest_asyncio.fixture
    async def pair(self, opened) -> tuple[PostgresStorage, PostgresStorage]:
        return await opened(shared=True), await opened(shared=True)
