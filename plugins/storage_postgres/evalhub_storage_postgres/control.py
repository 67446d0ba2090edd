"""The connection beside the pool: it holds the lock on the database, reads and sends notifications, and renews the lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import structlog

from evalhub_server.plugins import StartupError, StorageUnavailable
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.faults import FAULTS
from evalhub_storage_postgres.names import Names

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Session = PoolConnectionProxy[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record]

T = TypeVar("T")
log = structlog.get_logger()

APPLICATION = {"application_name": "eval-hub-server"}
_RETRY_S = 0.25
_CHECK_S = 5.0
"""How long the lock is assumed to be held without a check."""
_CALL_S = 3.0
"""Time limit of a call on this connection, so that a network partition is noticed within seconds."""
_CONNECT_S = 2.0
"""How long a call waits in addition, if it has to wait for another call or a new connection."""
_UNLOCK_S = 1.0
_NOTIFY_INTERVAL_S = 0.02
"""Minimum time between two notifications: one for all commits meanwhile."""
LEASE = "lease"
"""Payload of the notification that the lease was acquired or released; the payload is empty after commits."""

# PostgreSQL releases the locks of a server whose machine is gone within half a minute instead of hours.
_KEEP_ALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"


class Waker:
    """Set by notifications of ``connection``: ``lease_changed`` until it is cleared, and ``lost`` once that is closed."""

    def __init__(self, connection: Connection | None) -> None:
        self.connection = connection
        self.event = asyncio.Event()
        self.lease_changed = False
        self.lost = connection is None or connection.is_closed()


class Control:
    """Not used for records. If it breaks, the next call connects and takes the lock again.

    With ``shared``, other servers may hold the lock at the same time, and commits are announced to them.
    ``on_unreachable`` is called when the database does not respond in time, ``on_connected`` with every new connection that
    has the lock, and the lock is released if it raises.
    """

    def __init__(
        self,
        address: Address,
        *,
        shared: bool,
        timeout_s: float,
        connect_timeout_s: float,
        on_unreachable: Callable[[], object],
        on_connected: Callable[[Connection], Awaitable[None]],
    ) -> None:
        self.address = address
        self.shared = shared
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._on_unreachable = on_unreachable
        self._on_connected = on_connected
        self._names: Names | None = None
        self._connection: Connection | None = None
        self._held_until = 0.0
        self._holding: asyncio.Task[bool] | None = None
        self._guard = asyncio.Lock()
        self._wakers: set[Waker] = set()
        self._commits = asyncio.Event()
        self._announcing: asyncio.Task[None] | None = None

    @property
    def names(self) -> Names:
        assert self._names is not None  # noqa: S101  set by the first connection
        return self._names

    # --- opening

    async def open(self, patience_s: float) -> None:
        """Connect and take the lock. Waits up to ``patience_s`` for another server that is exiting."""
        await self._wait_until(self.held, patience_s, "is in use by another server")

    async def open_for_migration(
        self,
        patience_s: float,
        migration_patience_s: float,
        excludes_others: Callable[[Connection], Awaitable[bool]],
    ) -> Callable[[], Awaitable[None]]:
        """Like :meth:`open`, one server at a time, and exclusively if the migration requires that.

        Returns a function that admits other servers again.
        """
        connection = self._connection = await self._connected()
        names = self.names
        await self._wait_until(
            lambda: _try_lock(connection, names.migration),
            migration_patience_s,
            "is being migrated by another server",
        )
        exclusive = await excludes_others(connection)
        await self._wait_until(
            lambda: _try_lock(connection, names.server, shared=not exclusive),
            patience_s,
            "must be migrated, and is in use by a server of an earlier version"
            if exclusive
            else "is in use by another server that does not share it, because of its version or its runtime",
        )
        self._held_until = time.monotonic() + _CHECK_S

        async def admit(connection: Connection) -> None:
            if exclusive:
                await _try_lock(connection, names.server, shared=True)
                await connection.execute("SELECT pg_advisory_unlock($1)", names.server)
            await connection.execute("SELECT pg_advisory_unlock($1)", names.migration)

        async def opened() -> None:
            await self.run(admit)
            self._announcing = asyncio.create_task(self._announce(), name="postgres-announce")

        return opened

    async def _wait_until(
        self, locked: Callable[[], Awaitable[bool]], patience_s: float, problem: str
    ) -> None:
        deadline = time.monotonic() + patience_s
        while not await locked():
            if time.monotonic() > deadline:
                raise StartupError(
                    f"The database {self.address.redacted_url} {problem}. Stop that one, or give this one "
                    f"another database, or another schema with ?search_path=name in database.url."
                )
            await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Disconnect, by force if the server does not respond. Idempotent."""
        for task in (self._holding, self._announcing):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait([task])
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*FAULTS):  # PostgreSQL releases the lock some time after a connection is closed
                await connection.execute("SELECT pg_advisory_unlock_all()", timeout=_UNLOCK_S)
            await _close(connection, self._timeout_s)

    # --- use

    async def held(self) -> bool:
        """Take the lock or check that it is held; False if another server excludes this one."""
        if self._alive() and time.monotonic() < self._held_until:
            return True
        if self._holding is None or self._holding.done():
            self._holding = asyncio.create_task(self._hold(), name="postgres-lock")
            self._holding.add_done_callback(retrieved)
        return await asyncio.shield(self._holding)  # one attempt for all waiting calls

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Call ``work`` with the connection, one call at a time. Raises asyncpg's errors and :class:`StorageUnavailable`."""
        async with asyncio.timeout(_CALL_S + _CONNECT_S):
            if not await self.held():
                raise self.excluded("The connection to the database cannot be used")
            async with self._guard:
                connection = self._connection
                if connection is None or connection.is_closed():
                    raise asyncpg.InterfaceError("the connection was lost")
                try:
                    async with asyncio.timeout(_CALL_S):
                        return await work(connection)
                except TimeoutError:
                    self._drop(connection)
                    raise

    def excluded(self, operation: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"{operation}: the connection was lost, and another server has taken over the database "
            f"({self.address.redacted_url}). Stop one of the two servers."
        )

    @contextmanager
    def waker(self) -> Generator[Waker]:
        """A waker of the present connection."""
        waker = Waker(self._connection)
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.discard(waker)

    def committed(self) -> None:
        """Announce a commit to other servers, soon."""
        self._commits.set()

    async def _announce(self) -> None:
        while True:
            await self._commits.wait()
            self._commits.clear()
            with suppress(*FAULTS, StorageUnavailable):  # other servers look for changes from time to time
                await self.run(lambda connection: connection.execute(f"NOTIFY {self.names.channel}"))
            await asyncio.sleep(_NOTIFY_INTERVAL_S)

    # --- connection

    def _alive(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def _hold(self) -> bool:
        async with self._guard:
            if not await self._still_held():
                if self._connection is not None:
                    log.warning("connection with the lock on the database lost")
                    self._drop(self._connection)
                self._connection = await self._locked()
            self._held_until = time.monotonic() + _CHECK_S
            return self._connection is not None

    async def _still_held(self) -> bool:
        connection = self._connection
        if connection is None or connection.is_closed():
            return False
        # A machine that is gone sends nothing, and the host name may resolve to another machine by now.
        try:
            await connection.execute("SELECT 1", timeout=min(_CALL_S, self._connect_timeout_s))
        except FAULTS:
            return False
        return True

    def _drop(self, connection: Connection) -> None:
        if not connection.is_closed():
            connection.terminate()
            if self.shared:
                self._on_unreachable()

    async def _locked(self) -> Connection | None:
        """A new connection that holds the lock; None if another server's does."""
        connection = await self._connected()
        try:
            if await _try_lock(connection, self.names.server, shared=self.shared):
                await self._on_connected(connection)
                return connection
        except BaseException:
            connection.terminate()
            raise
        await _close(connection, self._timeout_s)
        return None

    async def _connected(self) -> Connection:
        connection = await asyncpg.connect(
            self.address.dsn,
            timeout=self._connect_timeout_s,
            command_timeout=self._timeout_s,
            server_settings=APPLICATION,
        )
        try:
            await connection.execute(_KEEP_ALIVE)
            self._names = Names.of(await _schema_of(connection))
            if self.shared:
                await connection.add_listener(self._names.channel, self._notified)
                connection.add_termination_listener(self._lost)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        own = self._connection
        if own is None or own.is_closed() or pid == own.get_server_pid():
            return  # its own notification, or one that arrived before the connection was lost
        for waker in self._wakers:
            waker.lease_changed = waker.lease_changed or payload == LEASE
            waker.event.set()

    def _lost(self, connection: object) -> None:
        for waker in self._wakers:
            if waker.connection is connection:
                waker.lost = True
                waker.event.set()


def retrieved(task: asyncio.Task[Any]) -> None:
    """Mark the exception of a task as seen, since all callers that wait for it may be cancelled."""
    if not task.cancelled():
        task.exception()


async def connect(address: Address, timeout_s: float) -> Connection:
    """A connection of its own, without a time limit of statements and without the lock on the database."""
    return await asyncpg.connect(
        address.dsn, timeout=address.connect_timeout_s or timeout_s, server_settings=APPLICATION
    )


async def _try_lock(connection: Connection, number: int, *, shared: bool = False) -> bool:
    function = "pg_try_advisory_lock_shared" if shared else "pg_try_advisory_lock"
    return bool(await connection.fetchval(f"SELECT {function}($1)", number))


async def _schema_of(connection: Connection) -> str:
    schema: str | None = await connection.fetchval("SELECT current_schema()")
    if schema is None:
        raise StartupError(
            "database.url: its user has no schema for tables. Create one that is in its search_path."
        )
    return schema


async def _close(connection: Connection, timeout_s: float) -> None:
    try:
        await connection.close(timeout=timeout_s)
    except FAULTS:
        connection.terminate()
