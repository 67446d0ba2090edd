"""Read queries. They run in a connection's thread, within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from evalhub_server.plugins import SYSTEM_OWNER
from evalhub_storage_sqlite.cache import Listing
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import R, RecordMapper, Stored
from evalhub_storage_sqlite.sql_builder import ListQuery

_CHUNK = 500
"""Maximum values per query, far below SQLite's limit on parameters."""

Key = tuple[str, str]
"""Kind of record, and id."""


def select_in(connection: sqlite3.Connection, sql: str, values: Sequence[str] | Sequence[int]) -> list[Row]:
    """Return the rows that ``sql`` selects ``IN ({placeholders})``; its ORDER BY applies to each chunk of values."""
    found: list[Row] = []
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        found += connection.execute(sql.format(placeholders=", ".join("?" * len(chunk))), chunk)
    return found


def records_by_id(
    connection: sqlite3.Connection, mapper: RecordMapper[R, Any], ids: Sequence[str]
) -> dict[str, Stored[R]]:
    """Return the records that exist, decoded here so that a long page does not block the event loop.

    Raises:
        StorageError: one of them cannot be decoded.
    """
    rows = mapper.read(connection, ids)
    return {
        record_id: Stored(seq=each.seq, record=each.decode(), size_bytes=each.size_bytes)
        for record_id, each in rows.items()
    }


def listing(connection: sqlite3.Connection, sql: ListQuery) -> Listing:
    """Return the ids of a page and how many records match."""
    (total,) = connection.execute(sql.count, sql.parameters).fetchone()
    rows = connection.execute(sql.page, (*sql.parameters, *sql.bounds))
    return Listing(ids=tuple([record_id for (record_id,) in rows]), total_count=total)


def page(
    connection: sqlite3.Connection, mapper: RecordMapper[R, Any], sql: ListQuery
) -> tuple[Listing, dict[str, Stored[R]]]:
    """Return a listing and its records from one snapshot. Raises like :func:`records_by_id`."""
    found = listing(connection, sql)
    return found, records_by_id(connection, mapper, found.ids)


def open_ids(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of the jobs that are open, oldest first."""
    return [
        job_id
        for (job_id,) in connection.execute(
            "SELECT id FROM jobs INDEXED BY jobs_open WHERE is_open = 1 ORDER BY created_at, id"
        )
    ]


def system_keys(connection: sqlite3.Connection) -> list[Key]:
    """Return the keys of the system's providers and collections."""
    return connection.execute("SELECT kind, id FROM resources WHERE owner = ?", (SYSTEM_OWNER,)).fetchall()


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the highest ``seq`` in use, 0 if the database is empty."""
    (seq,) = connection.execute(
        "SELECT max((SELECT coalesce(max(seq), 0) FROM jobs), (SELECT coalesce(max(seq), 0) FROM resources))"
    ).fetchone()
    return seq
