"""Internals of the SQLite storage: calls to its threads, and query plans of lists."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from evalhub_storage_sqlite.connection import Connection
from evalhub_storage_sqlite.sql_builder import ListQuery
from evalhub_storage_sqlite.storage import SqliteStorage


def connection_of(storage: SqliteStorage) -> Connection:
    assert storage._main is not None
    return storage._main


async def pragma(storage: SqliteStorage, text: str) -> Any:
    return await connection_of(storage).call(
        lambda connection: connection.execute(f"PRAGMA {text}").fetchone()
    )


async def fill_the_disk(storage: SqliteStorage) -> None:
    (pages,) = await pragma(storage, "page_count")
    await pragma(storage, f"max_page_count = {pages}")


async def free_the_disk(storage: SqliteStorage) -> None:
    await pragma(storage, "max_page_count = 1000000")


def count_hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every call that goes to a connection's thread."""
    hops: list[str] = []
    original = Connection.call

    async def counted(self: Connection, function: Any, *args: Any) -> Any:
        hops.append(function.__name__)
        return await original(self, function, *args)

    monkeypatch.setattr(Connection, "call", counted)
    return hops


def explain(database: sqlite3.Connection, sql: ListQuery | None) -> tuple[list[str], list[str]]:
    """Return how SQLite counts and how it reads a page."""
    assert sql is not None
    count = database.execute(f"EXPLAIN QUERY PLAN {sql.count}", sql.parameters)
    page = database.execute(f"EXPLAIN QUERY PLAN {sql.page}", (*sql.parameters, *sql.bounds))
    return [row[3] for row in count], [row[3] for row in page]
