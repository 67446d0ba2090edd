"""A PostgreSQL server for all tests here, and storages in schemas of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.database import Limits
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import PROGRAMS, RunningPostgres

MakeStorage = Callable[..., Awaitable[PostgresStorage]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[RunningPostgres]:
    if PROGRAMS is None:
        pytest.skip("needs a PostgreSQL server (on Debian: apt-get install postgresql)")
    with RunningPostgres() as server:
        yield server


@pytest.fixture
async def schema(postgres: RunningPostgres) -> str:
    return await postgres.new_schema()


@pytest.fixture
async def opened(postgres: RunningPostgres, schema: str) -> AsyncIterator[MakeStorage]:
    """Makes an open storage in the test's schema; it is closed afterwards."""
    made: list[PostgresStorage] = []

    async def make(**options: Any) -> PostgresStorage:
        limits = Limits(**{name: options.pop(name) for name in Limits.__struct_fields__ if name in options})
        storage = PostgresStorage(locate(postgres.url(schema)), limits=limits, **{"patience_s": 0, **options})
        made.append(storage)
        await storage.open()
        return storage

    yield make
    for storage in made:
        await storage.close()
