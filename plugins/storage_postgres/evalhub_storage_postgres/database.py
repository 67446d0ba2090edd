"""An open database: a pool of connections for records, and the :class:`Control` connection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import asyncpg
import structlog
from msgspec import Struct

from evalhub_server.plugins import Lease, StartupError, StorageLost
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.control import APPLICATION, Control
from evalhub_storage_postgres.faults import FAULTS, fix_for, reason_of, storage_errors
from evalhub_storage_postgres.lease import begin_fenced, lost
from evalhub_storage_postgres.pooler import check_sessions
from evalhub_storage_postgres.schema import excludes_others, usable_version

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection, Session

    Pool = asyncpg.Pool[asyncpg.Record]
    _AnyConnection = asyncpg.Connection[asyncpg.Record]
else:
    _AnyConnection = asyncpg.Connection  # no generic class at run time

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 10.0
_MIGRATION_PATIENCE_S = 600.0
# Not the default of the role or the database, since a fence needs to see what was committed while it waited.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"


class Limits(Struct, kw_only=True, frozen=True):
    """``timeout_s`` limits a statement, ``idle_s`` the time between two statements of a transaction (0: no limit)."""

    max_connections: int = 10
    max_lifetime_s: float = 0
    timeout_s: float = 30
    idle_s: float = 5


class _PooledConnection(_AnyConnection):
    """A connection whose session settings are those of :meth:`Database._prepare`, for as long as it lives."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        """Return nothing: no operation leaves a session state, so a release needs no round trip."""
        return ""


class Database:
    """An open database. No call waits longer than a few times ``limits.timeout_s``.

    Without ``shared`` this is the only server of the schema. Each server holds an advisory lock with a connection, shared or
    exclusive, so PostgreSQL releases it when the server exits in any way. If that connection breaks, the next write
    takes the lock again, or fails if another server has it exclusively.

    ``server_id`` is noted with each change.
    """

    def __init__(self, address: Address, limits: Limits, *, server_id: str, shared: bool) -> None:
        self.address = address
        self._limits = limits
        self._timeout_s = limits.timeout_s
        self._server_id = server_id
        self._connect_timeout_s = address.connect_timeout_s or min(CONNECT_TIMEOUT_S, limits.timeout_s)
        self.control = Control(
            address,
            shared=shared,
            timeout_s=limits.timeout_s,
            connect_timeout_s=self._connect_timeout_s,
            on_unreachable=self._abandon_pool,
            on_connected=self._check_schema,
        )
        self._pool: Pool | None = None
        self._opened = False
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._renewed_at = time.monotonic()

    async def open(
        self,
        patience_s: float,
        prepare: Callable[[Session], Awaitable[None]],
    ) -> None:
        """Connect, take the lock and call ``prepare`` in a transaction. Waits up to ``patience_s`` for another server that is exiting.

        Of several servers that open the database at once, one at a time calls ``prepare``.

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

    async def _open(
        self,
        patience_s: float,
        prepare: Callable[[Session], Awaitable[None]],
    ) -> None:
        opened = None
        if self.control.shared:
            opened = await self.control.open_for_migration(patience_s, _MIGRATION_PATIENCE_S, excludes_others)
        else:
            await self.control.open(patience_s)
        self._pool = await self._new_pool()
        async with self._pool.acquire(timeout=self._timeout_s) as session:
            await self.control.run(lambda connection: check_sessions(connection, session, self.address))
        async with self._pool.acquire(timeout=self._timeout_s) as session, session.transaction():
            await session.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await prepare(session)
        if opened is not None:
            await opened()
        self._opened = True

    async def _check_schema(self, connection: Connection) -> None:
        """After a loss of the lock: a newer server may have migrated the database meanwhile."""
        if not self._opened:
            return
        try:
            await usable_version(connection, self.address.redacted_url)
        except StartupError as error:
            raise StorageLost(str(error)) from None

    async def _new_pool(self) -> Pool:
        return await asyncpg.create_pool(
            self.address.dsn,
            min_size=0,  # connections are opened on demand, and not retried continuously during an outage
            max_size=self._limits.max_connections,
            timeout=self._connect_timeout_s,
            command_timeout=self._timeout_s,
            connection_class=_PooledConnection,
            init=self._prepare,
            server_settings=APPLICATION,
        )

    async def _prepare(self, connection: Connection) -> None:
        # If this server is suspended or cut off in a transaction, PostgreSQL ends it, and with it the locks on rows and fence.
        await connection.execute(
            f"SET evalhub.server = '{self._server_id}'; SET default_transaction_isolation = 'read committed';"
            f" SET idle_in_transaction_session_timeout = {int(self._limits.idle_s * 1000)}"
        )

    async def close(self) -> None:
        """Close all connections, by force if the server does not respond. Idempotent."""
        self._opened = False
        pool, self._pool = self._pool, None
        try:
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), self._timeout_s)
                except FAULTS:
                    pool.terminate()
        finally:
            await self.control.close()

    def _abandon_pool(self) -> None:
        """The database does not respond: operations in progress fail now instead of after their time limit."""
        pool, self._pool = self._pool, None
        if pool is not None:
            log.warning(
                "database does not respond; connections are replaced", database=self.address.redacted_url
            )
            pool.terminate()

    @asynccontextmanager
    async def reading(self, operation: str) -> AsyncGenerator[Session]:
        """A connection for one query. Raises :class:`StorageError`; ``operation`` begins its message."""
        with storage_errors(operation, self.address):
            pool = await self._ready_pool()
            async with pool.acquire(timeout=self._timeout_s) as session:
                yield session

    @asynccontextmanager
    async def writing(
        self, operation: str, lock_name: str, fence: Lease | None = None
    ) -> AsyncGenerator[Session]:
        """A transaction, in its :meth:`turn`. Raises what that and :meth:`transaction` do."""
        async with (
            self.turn(operation, lock_name) as session,
            self.transaction(session, operation, fence),
        ):
            yield session

    @asynccontextmanager
    async def turn(self, operation: str, lock_name: str) -> AsyncGenerator[Session]:
        """A connection to write with; a single statement needs no transaction.

        Those with the same ``lock_name`` are serialized in the order of the calls. Raises :class:`StorageError`;
        ``operation`` begins its message.
        """
        with storage_errors(operation, self.address):
            async with self._locked_by(lock_name):
                if not await self.control.held():
                    raise self.control.excluded(f"{operation} failed")
                pool = await self._ready_pool()
                async with pool.acquire(timeout=self._timeout_s) as session:
                    yield session
        self.control.committed()

    @asynccontextmanager
    async def transaction(
        self, session: Session, operation: str, fence: Lease | None
    ) -> AsyncGenerator[None]:
        """Raises :class:`LeadershipLost` if the lease ``fence`` is not valid any more."""
        # One round trip for the begin and the check of the fence.
        begin = _BEGIN if fence is None else f"{_BEGIN}; {begin_fenced(self.control.names.fence, fence)}"
        try:
            status = await session.execute(begin)
            if fence is not None and status != "SELECT 1":
                raise lost(operation, fence)
            yield
        except BaseException:
            with suppress(*FAULTS):
                await session.execute("ROLLBACK")
            raise
        await session.execute("COMMIT")

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
            if not self._opened:
                raise asyncpg.InterfaceError("the connections are closed")
            self._pool = await self._new_pool()
        now = time.monotonic()
        if 0 < self._limits.max_lifetime_s < now - self._renewed_at:
            self._renewed_at = now
            await self._pool.expire_connections()  # those in use are replaced when they are released
        return self._pool
