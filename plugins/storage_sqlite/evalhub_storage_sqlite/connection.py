"""Connections to the database file, and whole transactions in one call."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from threading import Thread
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import aiosqlite

from evalhub_server.plugins import StartupError

P = ParamSpec("P")
T = TypeVar("T")

Row = tuple[Any, ...]
Statements = Iterable[tuple[str, list[Row]]]
"""SQL, and the parameters of each time that it is executed."""

BUSY_TIMEOUT_S = 5.0
_BOTH = (
    "PRAGMA cache_size = -1024",  # KiB; the operating system caches the rest
    "PRAGMA temp_store = MEMORY",
)
_WRITER = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",  # what is acknowledged survives a power cut, not only the end of the process
    "PRAGMA journal_size_limit = 67108864",
)


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a function in its thread.

    Each of aiosqlite's own methods is one hop to the thread. A transaction made of them stays open between hops, which
    costs time and lets other users of the connection see it half done. ``call`` runs all of it in one hop, so that
    nothing, not even a cancelled caller, can leave a transaction open.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # The interpreter waits for threads that are not daemons: a server that fails without closing its storage would
        # never exit. An exit in the middle of a write is as safe for SQLite as a kill.
        thread: Thread = getattr(
            self, "_thread", cast("Thread", self)
        )  # a thread itself until 0.21, with a thread since 0.22
        thread.daemon = True

    async def call(
        self, function: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run ``function(connection, …)`` in the thread. A call that is queued runs even if its caller is cancelled."""
        # All of aiosqlite's own methods go through _execute, which it does not annotate.
        execute = cast("Callable[..., Awaitable[T]]", super()._execute)  # pyright: ignore[reportUnknownMemberType]
        return await execute(function, self._conn, *args, **kwargs)


async def connect_writer(path: Path | None) -> Connection:
    """Open the connection that writes, creating the file if it is missing.

    Raises:
        StartupError: the file system cannot do write-ahead logging.
        sqlite3.Error: the file cannot be opened or is not a database.
    """
    return await _connect(":memory:" if path is None else str(path), path, prepare_writer)


async def connect_reader(path: Path) -> Connection:
    """Open a connection that only reads; the writer must be open. Raises :class:`sqlite3.Error`."""
    return await _connect(f"{path.as_uri()}?mode=ro", path, _prepare)


async def _connect(
    database: str, path: Path | None, prepare: Callable[[sqlite3.Connection, Path | None], None]
) -> Connection:
    def connector() -> sqlite3.Connection:
        # Autocommit: this package begins and ends transactions itself.
        return sqlite3.connect(database, timeout=BUSY_TIMEOUT_S, isolation_level=None, uri=True)

    connection = Connection(connector)
    await connection
    try:
        await connection.call(prepare, path)
    except BaseException:
        await connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    for pragma in _BOTH:
        connection.execute(pragma)


def prepare_writer(connection: sqlite3.Connection, path: Path | None) -> None:
    """Configure the connection; runs in its thread. Raises :class:`StartupError` without a write-ahead log."""
    _prepare(connection, path)
    for pragma in _WRITER:
        connection.execute(pragma)
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if path is not None and mode != "wal":
        raise StartupError(
            f"The database {path} cannot use write-ahead logging (SQLite uses {mode!r}), which network file "
            f"systems do not support. Put the database on a local disk."
        )


def write(
    connection: sqlite3.Connection, statements: Statements, check: Callable[[], None] = lambda: None
) -> None:
    """Execute the statements as one transaction. Raises SQLite's errors, with no transaction left open.

    ``check`` raises if the database is lost. It is called before the transaction, and after it, because only what was
    written to a file that is still there may be acknowledged.
    """
    check()
    connection.execute("BEGIN IMMEDIATE")
    try:
        for sql, rows in statements:
            connection.executemany(sql, rows)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()  # no effect if SQLite has rolled back itself, as after a disk fault
        raise
    check()


def read(
    connection: sqlite3.Connection,
    call: Callable[Concatenate[sqlite3.Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Run queries that must see one snapshot of the database."""
    connection.execute("BEGIN")
    try:
        return call(connection, *args, **kwargs)
    finally:
        connection.rollback()
