"""Connections: a pool for operations, and one connection that holds the lock on the database."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import asyncpg
import structlog

from evalhub_server.plugins import StartupError, StorageUnavailable
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.faults import FAULTS, fix_for, reason_of, storage_errors

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Session = PoolConnectionProxy[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]

log = structlog.get_logger()

_SETTINGS = {"application_name": "eval-hub-server"}
_CONNECT_TIMEOUT_S = 10.0
_RETRY_S = 0.25
_CHECK_S = 5.0
"""How long the lock is assumed to be held without a check."""

# PostgreSQL releases the lock of a server whose machine is gone within a minute instead of hours.
_KEEP_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


class Database:
    """An open database. No call waits longer than a few times ``timeout_s``.

    One server per schema of a database, because it supervises all jobs in it. The lock is an advisory lock of a
    connection, so PostgreSQL releases it when the server exits in any way. If that connection breaks, the next write
    takes the lock again, or fails if another server has it.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int,
        max_lifetime_s: float,
        timeout_s: float,
    ) -> None:
        self.address = address
        self._max_connections = max_connections
        self._max_lifetime_s = max_lifetime_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = address.connect_timeout_s or min(_CONNECT_TIMEOUT_S, timeout_s)
        self._pool: Pool | None = None
        self._owner: Connection | None = None
        self._owned_until = 0.0
        self._owning: asyncio.Task[bool] | None = None
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._renewed_at = time.monotonic()

    async def open(self, patience_s: float, prepare: Callable[[Session], Awaitable[None]]) -> None:
        """Connect, take the lock and call ``prepare`` in a transaction. Waits up to ``patience_s`` for another server that is exiting.

        Raises:
            StartupError: the database cannot be reached, used or locked; with a fix.
        """
        try:
            await self._open(patience_s, prepare)
        except BaseException as error:
            await self.close()
            if isinstance(error, (*FAULTS, ValueError)):
                raise StartupError(
                    f"The database {self.address.redacted_url} cannot be opened: {reason_of(error, self.address)}. "
                    f"{fix_for(error)}"
                ) from None  # the exception chain may show the url
            raise

    async def _open(self, patience_s: float, prepare: Callable[[Session], Awaitable[None]]) -> None:
        deadline = time.monotonic() + patience_s
        while not await self._owned():
            if time.monotonic() > deadline:
                raise StartupError(
                    f"The database {self.address.redacted_url} is in use by another server. Stop that one, or give this one "
                    f"another database, or another schema with ?search_path=name in database.url."
                )
            await asyncio.sleep(_RETRY_S)
        self._pool = await asyncpg.create_pool(
            self.address.dsn,
            min_size=0,  # connections are opened on demand, and not retried continuously during an outage
            max_size=self._max_connections,
            timeout=self._connect_timeout_s,
            command_timeout=self._timeout_s,
            server_settings=_SETTINGS,
        )
        async with self._pool.acquire(timeout=self._timeout_s) as session, session.transaction():
            await prepare(session)

    async def close(self) -> None:
        """Close all connections, by force if the server does not respond. Idempotent."""
        if self._owning is not None and not self._owning.done():
            self._owning.cancel()
            await asyncio.wait([self._owning])
        pool, self._pool = self._pool, None
        owner, self._owner = self._owner, None
        try:
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), self._timeout_s)
                except FAULTS:
                    pool.terminate()
        finally:
            if owner is not None:
                await _close(owner, self._timeout_s)

    @asynccontextmanager
    async def reading(self, operation: str) -> AsyncGenerator[Session]:
        """A connection for one query. Raises :class:`StorageError`; ``operation`` begins its message."""
        with storage_errors(operation, self.address):
            pool = await self._ready_pool()
            async with pool.acquire(timeout=self._timeout_s) as session:
                yield session

    @asynccontextmanager
    async def writing(self, operation: str, lock_name: str) -> AsyncGenerator[Session]:
        """A transaction. Those with the same ``lock_name`` are serialized in the order of the calls.

        Raises:
            StorageError: ``operation`` begins its message.
        """
        with storage_errors(operation, self.address):
            async with self._locked_by(lock_name):
                if not await self._owned():
                    raise StorageUnavailable(
                        f"{operation} failed: the connection was lost, and another server has taken over the database "
                        f"({self.address.redacted_url}). Stop one of the two servers."
                    )
                pool = await self._ready_pool()
                async with pool.acquire(timeout=self._timeout_s) as session, session.transaction():
                    yield session

    @asynccontextmanager
    async def _locked_by(self, name: str) -> AsyncGenerator[None]:
        lock = self._locks.setdefault(name, asyncio.Lock())  # exists while it is held or waited for
        async with asyncio.timeout(self._timeout_s):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()

    async def _ready_pool(self) -> Pool:
        if self._pool is None:
            raise asyncpg.InterfaceError("the connections are closed")
        now = time.monotonic()
        if 0 < self._max_lifetime_s < now - self._renewed_at:
            self._renewed_at = now
            await self._pool.expire_connections()  # those in use are replaced when they are released
        return self._pool

    async def _owned(self) -> bool:
        """Take the lock or check that it is held; False if another server holds it."""
        if self._owner is not None and not self._owner.is_closed() and time.monotonic() < self._owned_until:
            return True
        if self._owning is None or self._owning.done():
            self._owning = asyncio.create_task(self._own(), name="postgres-lock")
        return await asyncio.shield(self._owning)  # one attempt for all waiting calls

    async def _own(self) -> bool:
        if not await self._still_owned():
            if self._owner is not None:
                log.warning("connection with the lock on the database lost")
                self._owner.terminate()
                self._owner = None
            self._owner = await self._locked()
        self._owned_until = time.monotonic() + _CHECK_S
        return self._owner is not None

    async def _still_owned(self) -> bool:
        if self._owner is None or self._owner.is_closed():
            return False
        # A machine that is gone sends nothing, and the host name may resolve to another machine by now.
        try:
            await self._owner.execute("SELECT 1", timeout=self._connect_timeout_s)
        except FAULTS:
            return False
        return True

    async def _locked(self) -> Connection | None:
        """A new connection that holds the lock; None if another server's does."""
        connection = await asyncpg.connect(
            self.address.dsn,
            timeout=self._connect_timeout_s,
            command_timeout=self._timeout_s,
            server_settings=_SETTINGS,
        )
        try:
            await connection.execute(_KEEP_ALIVE)
            if await connection.fetchval("SELECT pg_try_advisory_lock($1)", await _lock_number(connection)):
                return connection
        except BaseException:
            connection.terminate()
            raise
        await _close(connection, self._timeout_s)
        return None


async def connect(address: Address) -> Connection:
    """A connection of its own, without a time limit of statements and without the lock on the database."""
    return await asyncpg.connect(
        address.dsn, timeout=address.connect_timeout_s or _CONNECT_TIMEOUT_S, server_settings=_SETTINGS
    )


async def _lock_number(connection: Connection) -> int:
    schema: str | None = await connection.fetchval("SELECT current_schema()")
    if schema is None:
        raise StartupError(
            "database.url: its user has no schema for tables. Create one that is in its search_path."
        )
    return int.from_bytes(hashlib.sha256(f"evalhub {schema}".encode()).digest()[:8], "big", signed=True)


async def _close(connection: Connection, timeout_s: float) -> None:
    try:
        await connection.close(timeout=timeout_s)
    except FAULTS:
        connection.terminate()
