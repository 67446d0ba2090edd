"""Backups of the tables: one file with the rows as of one moment, its restoration, and its examination.

The file is a sequence of frames, each a length (4 bytes, big endian) and a MessagePack value: first a :class:`Header`, then
a list for each row with the index of its table and its values, and finally the number of rows.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from msgspec import Struct

from evalhub_server.plugins import JobMigration, Kind, OnRecord, StartupError, StorageError
from evalhub_storage_postgres import jobs, resources
from evalhub_storage_postgres.schema import MIGRATIONS, documents_of, migrate

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection, Session

_TABLES = """
    SELECT c.relname::text AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
        AND starts_with(c.relname, 'evalhub_')
        AND c.relname NOT IN ('evalhub_schema', 'evalhub_lease', 'evalhub_changes',
            'evalhub_job_counts', 'evalhub_job_count_changes')  -- triggers count restored jobs
    GROUP BY c.relname ORDER BY c.relname
"""
_JOBS, _BENCHMARKS = "evalhub_jobs", "evalhub_jobs_benchmarks"
_RESOURCE = "kind", "id", "run_count", "doc"
_PREFETCH = 200


class Table(Struct, kw_only=True, frozen=True):
    """A table of the backup and its columns, in the order of the values."""

    name: str
    columns: list[str]


class Header(Struct, kw_only=True, frozen=True):
    """The first frame. ``schema`` is the version of the database's schema."""

    format: int = 1
    schema: int
    tables: list[Table]


async def write(connection: Connection, target: Path) -> None:
    """Write all rows to the new file ``target``, as of one moment. Raises asyncpg's errors and :class:`OSError`."""
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            header = await _header(connection)
            _write(file, header)
            count = 0
            for index, table in enumerate(header.tables):
                async for row in _select(connection, table.name, table.columns):
                    _write(file, [index, *row])
                    count += 1
            _write(file, count)
        file.flush()
        os.fsync(file.fileno())


async def _header(connection: Connection) -> Header:
    if await connection.fetchval("SELECT to_regclass('evalhub_schema')") is None:
        raise StorageError("The database has no tables of this server.")
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM evalhub_schema")
    tables = [Table(name=row["name"], columns=row["columns"]) for row in await connection.fetch(_TABLES)]
    return Header(schema=version, tables=tables)


async def _select(connection: Connection, table: str, columns: list[str]) -> AsyncIterator[tuple[Any, ...]]:
    names = ", ".join(map(_quoted, columns))
    # In the order of the key, so that jobs and their benchmarks can be read side by side.
    sql = f"SELECT {names} FROM {_quoted(table)} ORDER BY 1, 2"  # noqa: S608
    async for row in connection.cursor(sql, prefetch=_PREFETCH):
        yield tuple(row)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def restore(session: Session, database: str, source: Path, migration: JobMigration) -> None:
    """Fill an empty database. ``session`` is in a transaction, with the lock on the database held.

    Raises:
        StartupError: the database has jobs, or its tables are of a newer version than the backup.
        StorageError: the file is not a complete backup.
    """
    with source.open("rb") as file:
        header, rows = _open(file)
        await migrate(session, database, migration, MIGRATIONS[: header.schema])
        if await session.fetchval("SELECT EXISTS (SELECT FROM evalhub_jobs)"):
            raise StartupError(
                f"The database {database} has jobs. Restore to an empty database, or to another schema (search_path)."
            )
        await session.execute("DELETE FROM evalhub_resources")
        for index, group in groupby(rows, key=_table_index):
            table = header.tables[index]
            records = (tuple(row[1:]) for row in group)
            await session.copy_records_to_table(table.name, records=records, columns=table.columns)


def examine_file(source: Path, on_record: OnRecord) -> list[str]:
    """Decode every record of a backup; returns what is wrong."""
    problems: list[str] = []
    try:
        with source.open("rb") as file, source.open("rb") as again:
            header, rows = _open(file)
            benchmarks = _benchmarks(*_open(again))
            for index, group in groupby(rows, key=_table_index):
                table = header.tables[index]
                for row in group:
                    values = dict(zip(table.columns, row[1:], strict=True))
                    if table.name == _JOBS:
                        values["benchmarks"] = _documents(values, benchmarks)
                    problems += _decoded(table.name, values, on_record)
    except (StorageError, OSError, ValueError, LookupError) as error:
        problems.append(f"{source.name}: {error}")
    return problems


async def examine(connection: Connection, on_record: OnRecord) -> list[str]:
    """Decode every record of the database, as of one moment; returns what is wrong. Raises asyncpg's errors."""
    problems: list[str] = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await _header(connection)
        async for row in connection.cursor(f"SELECT {jobs.COLUMNS} FROM evalhub_jobs", prefetch=_PREFETCH):  # noqa: S608
            problems += _decoded(_JOBS, dict(row), on_record)
        async for row in _select(connection, "evalhub_resources", list(_RESOURCE)):
            problems += _decoded("evalhub_resources", dict(zip(_RESOURCE, row, strict=True)), on_record)
    return problems


class _Benchmarks:
    """The documents of benchmarks in the order of a file, which has jobs in the same order, up to the job asked for."""

    def __init__(self, rows: Iterator[tuple[str, list[bytes]]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, job_id: str) -> list[bytes]:
        while self._next is not None and self._next[0] < job_id:
            self._next = next(self._rows, None)
        return self._next[1] if self._next is not None and self._next[0] == job_id else []


def _benchmarks(header: Header, rows: Iterator[list[Any]]) -> _Benchmarks:
    table = next((n for n, each in enumerate(header.tables) if each.name == _BENCHMARKS), None)
    if table is None:
        return _Benchmarks(iter(()))
    columns = header.tables[table].columns
    job_id, doc = 1 + columns.index("job_id"), 1 + columns.index("doc")
    found = (row for row in rows if row[0] == table)
    return _Benchmarks(
        (key, [row[doc] for row in group]) for key, group in groupby(found, key=lambda row: row[job_id])
    )


def _documents(job: dict[str, Any], benchmarks: _Benchmarks) -> list[bytes]:
    """The documents of a job's benchmarks, which earlier versions kept with the job."""
    return documents_of(job["benchmarks"]) if "benchmarks" in job else benchmarks.of(job["id"])


def _decoded(table: str, row: dict[str, Any], on_record: OnRecord) -> list[str]:
    try:
        if table == _JOBS:
            on_record(jobs.decode(row["id"], row["definition"], row["progress"], row["benchmarks"]))
        elif table == "evalhub_resources":
            kind, *rest = (row[name] for name in _RESOURCE)
            on_record(resources.decode(Kind(kind), *rest))
    except StorageError as error:
        return [str(error)]
    return []


def _write(file: BinaryIO, value: object) -> None:
    data = msgspec.msgpack.encode(value)
    file.write(len(data).to_bytes(4, "big"))
    file.write(data)


def _open(file: BinaryIO) -> tuple[Header, Iterator[list[Any]]]:
    """The header, and the rows; the iterator raises :class:`StorageError` at the end unless all rows were there."""
    try:
        header = msgspec.msgpack.decode(_frame(file), type=Header)
    except msgspec.MsgspecError as error:
        raise StorageError(f"it is no backup of a PostgreSQL database: {error}") from error
    if header.format > 1 or header.schema > len(MIGRATIONS):
        raise StorageError("it was written by a newer server; use that one")
    return header, _rows(file)


def _rows(file: BinaryIO) -> Iterator[list[Any]]:
    count = 0
    while isinstance(value := msgspec.msgpack.decode(_frame(file)), list):
        count += 1
        yield value
    if value != count or file.read(1):
        raise StorageError(f"it has {count} rows instead of {value}")


def _table_index(row: list[Any]) -> int:
    return row[0]


def _frame(file: BinaryIO) -> bytes:
    head = file.read(4)
    data = file.read(int.from_bytes(head, "big"))
    if len(head) < 4 or len(data) < int.from_bytes(head, "big"):
        raise StorageError("it is incomplete")
    return data
