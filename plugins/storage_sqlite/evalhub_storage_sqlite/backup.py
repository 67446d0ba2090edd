"""Backups of a database: a copy that is consistent while a server writes, its restoration, and its examination."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from evalhub_server.plugins import OnRecord, StorageError, make_private
from evalhub_storage_sqlite.connection import BUSY_TIMEOUT_S
from evalhub_storage_sqlite.faults import fix_for
from evalhub_storage_sqlite.jobs import JOBS
from evalhub_storage_sqlite.resources import RESOURCES
from evalhub_storage_sqlite.schema import APPLICATION_ID, MIGRATIONS

_BATCH = 200
SHOWN_FINDINGS = 20


def copy(source: Path, target: Path) -> None:
    """Copy the database to the new file ``target``, as of one moment. Writers are not blocked.

    Raises:
        StorageError: it cannot be read or the copy cannot be written.
    """
    if not source.exists():
        raise StorageError(
            f"There is no database {source}. Name the server's with --data-dir or database.url."
        )
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_connect(source)) as reader, closing(sqlite3.connect(target)) as writer:
            reader.backup(writer)  # all pages in one step, so in one read transaction
            writer.execute("PRAGMA journal_mode = DELETE")  # one file without a log beside it
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except (sqlite3.Error, OSError) as error:
        fix = (
            fix_for(error) if isinstance(error, sqlite3.Error) else "Check the paths and the free disk space."
        )
        raise StorageError(f"The database {source} cannot be copied to {target}: {error}. {fix}") from error


def restore(source: Path, target: Path) -> None:
    """Copy a backup to the path of a database that does not exist yet. Raises :class:`StorageError`."""
    part = target.with_name(f"{target.name}.part")
    try:
        make_private(target.parent)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            with source.open("rb") as content:
                shutil.copyfileobj(content, file, 1024 * 1024)
            file.flush()
            os.fsync(file.fileno())
        target.hardlink_to(part)  # complete under its name, and never in the place of another file
    except FileExistsError:
        raise StorageError(f"The database {target} exists already. Restore to another path.") from None
    except OSError as error:
        raise StorageError(f"The database {target} cannot be written: {error}.") from error
    finally:
        part.unlink(missing_ok=True)


def examine(path: Path, on_record: OnRecord, *, immutable: bool) -> list[str]:
    """Check pages, indices, references between tables, and that every record decodes; returns what is wrong.

    ``immutable``: nothing writes to the file, so no file is created beside it.

    Raises:
        StorageError: it cannot be opened.
    """
    try:
        with closing(_connect(path, "&immutable=1" if immutable else "")) as connection:
            connection.execute("BEGIN")
            return list(_findings(connection, path, on_record))
    except sqlite3.Error as error:
        raise StorageError(f"The database {path} cannot be read: {error}. {fix_for(error)}") from error


def _findings(connection: sqlite3.Connection, path: Path, on_record: OnRecord) -> Iterator[str]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        yield f"{path.name}: it is not a database of this server"
        return
    damage = [
        text for (text,) in connection.execute(f"PRAGMA integrity_check({SHOWN_FINDINGS})") if text != "ok"
    ]
    for text in damage:
        yield f"{path.name}: {' '.join(str(text).split())}"
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check").fetchmany(SHOWN_FINDINGS):
        yield f"{path.name}: row {row} of {table} refers to a missing row of {parent}"
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != len(MIGRATIONS):
        yield (
            f"{path.name}: its schema has version {version}, and this server reads version {len(MIGRATIONS)}; verify it with "
            "the server that wrote it, or let this one migrate a copy"
        )
        return
    yield from _undecodable(connection, JOBS, "SELECT id FROM jobs ORDER BY seq", on_record)
    for kind, mapper in RESOURCES.items():
        ids = f"SELECT id FROM resources WHERE kind = '{kind.value}' ORDER BY seq"  # noqa: S608  of an enum
        yield from _undecodable(connection, mapper, ids, on_record)


def _undecodable(connection: sqlite3.Connection, mapper: Any, ids: str, on_record: OnRecord) -> Iterator[str]:
    cursor = connection.execute(ids)
    while batch := [record_id for (record_id,) in cursor.fetchmany(_BATCH)]:
        yield from _decoded(mapper.read(connection, batch).values(), on_record)


def _decoded(rows: Sequence[Any], on_record: OnRecord) -> Iterator[str]:
    for row in rows:
        try:
            record = row.decode()
        except StorageError as error:
            yield str(error)
        else:
            on_record(record)


def _connect(path: Path, options: str = "") -> sqlite3.Connection:
    """A connection that only reads; beside a server, too."""
    database = f"{path.absolute().as_uri()}?mode=ro{options}"
    return sqlite3.connect(database, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
