"""The connections: a pool for the work, and one that holds the lock on the database."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import asyncpg
import structlog

from evalhub_server.plugins import JobMigration, StartupError, StorageUnavailable
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.faults import FAULTS, faults, fix_for, reason_of
from evalhub_storage_postgres.schema import migrate

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
"""How long it is taken for granted that the lock is held."""

# So that PostgreSQL drops the lock of a server whose machine is gone within a minute, and not in hours.
_KEEP_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"


class Database:
    """An open database. Nothing waits for more than a few times ``timeout_s`` for it.

    One server per schema of a database, because it watches over all jobs that it finds there. The lock is an advisory
    lock of a connection's, so PostgreSQL drops it when the server ends in whatever way. Where that connection breaks,
    the next write takes the lock again, or fails if another server was quicker.
    """

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int,
        max_lifetime_s: float,
        timeout_s: float,
        migration: JobMigration,
    ) -> None:
        self.address = address
        self._migration = migration
        self._max_connections = max_connections
        self._max_lifetime_s = max_lifetime_s
        self._timeout_s = timeout_s
        self._connect_timeout_s = address.connect_timeout_s or min(_CONNECT_TIMEOUT_S, timeout_s)
        self._pool: Pool | None = None
        self._owner: Connection | None = None
        self._owned_until = 0.0
        self._owning: asyncio.Task[bool] | None = None
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._renewed_at = time.monotonic()

    async def open(self, patience_s: float) -> None:
        """Connect, lock and migrate. Waits for ``patience_s`` for another server that is just ending.

        Raises:
            StartupError: it cannot be reached, used or locked; with a hint.
        """
        try:
            await self._open(patience_s)
        except BaseException as error:
            await self.close()
            if isinstance(error, (*FAULTS, ValueError)):
                raise StartupError(
                    f"The database {self.address.shown} cannot be opened: {reason_of(error, self.address)}. "
                    f"{fix_for(error)}"
                ) from None  # whose chain may show the url
            raise

    async def _open(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while not await self._owned():
            if time.monotonic() > deadline:
                raise StartupError(
                    f"The database {self.address.shown} is in use by another server. Stop that one, or give this one "
                    f"another database, or another schema with ?search_path=name in database.url."
                )
            await asyncio.sleep(_RETRY_S)
        self._pool = await asyncpg.create_pool(
            self.address.dsn,
            min_size=0,  # connections are made when they are needed, and not tried for again and again in an outage
            max_size=self._max_connections,
            timeout=self._connect_timeout_s,
            command_timeout=self._timeout_s,
            server_settings=_SETTINGS,
        )
        async with self._pool.acquire(timeout=self._timeout_s) as session, session.transaction():
            await migrate(session, self.address.shown, migration=self._migration)

    async def close(self) -> None:
        """Close every connection, by force if the server does not answer. Idempotent."""
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
    async def reading(self, doing: str) -> AsyncGenerator[Session]:
        """A connection for one query. Raises :class:`StorageError`, which says ``doing``."""
        with faults(doing, self.address):
            pool = await self._ready_pool()
            async with pool.acquire(timeout=self._timeout_s) as session:
                yield session

    @asynccontextmanager
    async def writing(self, doing: str, turn: str) -> AsyncGenerator[Session]:
        """A transaction. Those of one ``turn`` follow each other, first come, first served.

        Raises:
            StorageError: it says ``doing``.
        """
        with faults(doing, self.address):
            async with self._turn(turn):
                if not await self._owned():
                    raise StorageUnavailable(
                        f"{doing} failed: the connection was lost, and another server has taken the database over "
                        f"({self.address.shown}). Stop one of the two servers."
                    )
                pool = await self._ready_pool()
                async with pool.acquire(timeout=self._timeout_s) as session, session.transaction():
                    yield session

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncGenerator[None]:
        lock = self._turns.setdefault(
            name, asyncio.Lock()
        )  # it lives for as long as somebody has or wants it
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
            await self._pool.expire_connections()  # those in use are replaced when they come back
        return self._pool

    async def _owned(self) -> bool:
        """Hold the lock, or say that another server has it."""
        if self._owner is not None and not self._owner.is_closed() and time.monotonic() < self._owned_until:
            return True
        if self._owning is None or self._owning.done():
            self._owning = asyncio.create_task(self._own(), name="postgres-lock")
        return await asyncio.shield(self._owning)  # one attempt for all who wait for it

    async def _own(self) -> bool:
        if not await self._still_owned():
            if self._owner is not None:
                log.warning("the connection that holds the database's lock was lost")
                self._owner.terminate()
                self._owner = None
            self._owner = await self._locked()
        self._owned_until = time.monotonic() + _CHECK_S
        return self._owner is not None

    async def _still_owned(self) -> bool:
        if self._owner is None or self._owner.is_closed():
            return False
        # A machine that is gone does not say so, and the name of a database may lead to another one by now.
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


async def _lock_number(connection: Connection) -> int:
    schema: str | None = await connection.fetchval("SELECT current_schema()")
    if schema is None:
        raise StartupError(
            "database.url: its user has no schema to make tables in. Create one that its search_path names."
        )
    return int.from_bytes(hashlib.sha256(f"evalhub {schema}".encode()).digest()[:8], "big", signed=True)


async def _close(connection: Connection, timeout_s: float) -> None:
    try:
        await connection.close(timeout=timeout_s)
    except FAULTS:
        connection.terminate()
