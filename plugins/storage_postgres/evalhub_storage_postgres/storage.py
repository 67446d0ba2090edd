"""The PostgreSQL storage, shared by several servers or used by one."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from os import getpid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from evalhub_server.plugins import (
    FeedItem,
    JobMigration,
    Lease,
    LeaseChanged,
    OnRecord,
    SharedStorage,
    Storage,
    StorageError,
    StorageLost,
    StorageUnavailable,
)
from evalhub_storage_postgres import backup, changes
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.control import connect
from evalhub_storage_postgres.database import CONNECT_TIMEOUT_S, Database, Limits
from evalhub_storage_postgres.faults import FAULTS, storage_errors
from evalhub_storage_postgres.job_counts import DROP_UNUSED_COUNTS, FOLD_COUNTS
from evalhub_storage_postgres.lease import acquire, current, release, renew
from evalhub_storage_postgres.operations import FencedRecords, Opening, RecordOperations
from evalhub_storage_postgres.pooler import check_sessions
from evalhub_storage_postgres.schema import migrate, usable_version

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection, Session

T = TypeVar("T")

_SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND starts_with(relname, 'evalhub_')
"""
RESTORE_TIMEOUT_S = 3600.0
CLOSE_TIMEOUT_S = 10.0
POLL_S = 1.0
"""A feed looks for changes so often even without a notification, which a server that was killed may not have sent."""
_PAUSE_S = 0.02
"""Minimum time between two reads of a feed."""
_PRUNE_S = 60.0
_FOLD_S = 1.0
"""Interval of folding the changes of numbers of jobs, while there are some. Lists add up those that are not folded."""


def _new_server_id() -> str:
    host = re.sub(r"[^A-Za-z0-9_.-]", "_", socket.gethostname())[:100]
    return f"{host}-{getpid()}-{secrets.token_hex(4)}"


class PostgresStorage(RecordOperations, SharedStorage):
    """Jobs, providers and collections in the PostgreSQL database at ``address``.

    A cancelled caller does not interrupt its operation. Updates of one job that wait at the same time are written as one
    transaction. Writes of one job are executed in the order of the calls, and so
    are all writes of providers and collections; versions of rows and locks on them guard against other servers. Job records are
    cached, and used while their row has the version that was read. If a connection breaks during a commit, it is unknown
    whether that was written, and the caller gets a :class:`StorageError`.

    Without ``shared``, a second server does not start. ``patience_s``: how long ``open`` waits for another server to exit.
    ``migration`` converts the jobs of a database of an earlier version.
    """

    def __init__(
        self,
        address: Address,
        *,
        limits: Limits | None = None,
        shared: bool = False,
        patience_s: float = 10,
        migration: JobMigration | None = None,
    ) -> None:
        self.description = f"PostgreSQL database {address.redacted_url}"
        self.server_id = _new_server_id()
        self._address = address
        self._limits = limits or Limits()
        self._shared = shared
        self._migration = migration or JobMigration()
        self._patience_s = patience_s
        self._closing = asyncio.Lock()
        self._housekeeping: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        if self._opening is not None:
            raise StorageError(f"The storage is open already ({self.description}).")
        database = self._database(shared=self._shared)
        await database.open(self._patience_s, self._prepare)
        self._opening = Opening(database)
        self._housekeeping = [
            asyncio.create_task(self._prune(self._opening), name="postgres-prune"),
            asyncio.create_task(self._fold_counts(self._opening), name="postgres-fold-counts"),
        ]

    def _database(self, limits: Limits | None = None, *, shared: bool) -> Database:
        return Database(self._address, limits or self._limits, server_id=self.server_id, shared=shared)

    async def _prepare(self, session: Session) -> None:
        await migrate(session, self._address.redacted_url, self._migration)
        await session.execute(changes.FORGET)

    async def check(self) -> None:
        async with (
            self._separate("Checking the database") as first,
            self._separate("Checking the database") as second,
        ):
            await check_sessions(first, second, self._address)
            await usable_version(first, self._address.redacted_url)

    async def verify(self) -> None:
        """Check that the lock is held, and take it again if the connection that had it is lost."""
        opening = self._opened()
        try:
            await opening.database.control.held()
        except StorageLost:
            raise
        except (*FAULTS, StorageError):
            return  # every operation reports that

    async def close(self) -> None:
        """Finish all operations, then disconnect. Idempotent; may be called again after a cancellation."""
        async with self._closing:
            for task in self._housekeeping:
                task.cancel()
            if self._housekeeping:
                await asyncio.wait(self._housekeeping)
            if self._opening is not None:
                await self._opening.finished()
                await self._opening.database.close()
            self._opening = None

    async def size_bytes(self) -> int | None:
        return await self._read("Measuring the database", lambda session: session.fetchval(_SIZE))

    # --- backup

    async def backup(self, target: Path) -> None:
        async with self._separate("Backing up the database") as connection:
            await backup.write(connection, target)

    async def restore(self, source: Path) -> None:
        limits = replace(self._limits, timeout_s=RESTORE_TIMEOUT_S)
        database = self._database(limits, shared=False)
        with storage_errors("Restoring the database", self._address):
            await database.open(self._patience_s, lambda session: self._restore(session, source))
        await database.close()

    async def examine(self, source: Path | None, on_record: OnRecord) -> list[str]:
        if source is not None:
            return await asyncio.to_thread(backup.examine_file, source, on_record)
        async with self._separate("Examining the database") as connection:
            return await backup.examine(connection, on_record)

    async def _restore(self, session: Session, source: Path) -> None:
        await backup.restore(session, self._address.redacted_url, source, self._migration)

    @asynccontextmanager
    async def _separate(self, operation: str) -> AsyncGenerator[Connection]:
        """A connection beside those of a server, which has the lock on the database. Raises :class:`StorageError`."""
        with storage_errors(operation, self._address):
            connection = await connect(self._address, CONNECT_TIMEOUT_S)
            try:
                yield connection
            finally:
                await connection.close(timeout=CLOSE_TIMEOUT_S)

    # --- lease

    async def acquire_lease(self, duration_s: float) -> Lease | None:
        names = self._opened().database.control.names
        return await self._control(
            "Acquiring the lease",
            lambda connection: acquire(connection, names, self.server_id, duration_s),
        )

    async def renew_lease(self, lease: Lease, duration_s: float) -> Lease:
        return await self._control(
            "Renewing the lease", lambda connection: renew(connection, lease, duration_s)
        )

    async def release_lease(self, lease: Lease) -> None:
        names = self._opened().database.control.names
        await self._control("Releasing the lease", lambda connection: release(connection, names, lease))

    async def current_lease(self) -> Lease | None:
        return await self._control("Reading the lease", current)

    def fenced(self, lease: Lease) -> Storage:
        return FencedRecords(self._opened(), lease, self.description)

    async def _control(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        opening = self._opened()
        with storage_errors(operation, self._address):
            return await opening.whole(opening.database.control.run(work))

    # --- changes

    async def changes(self, after: str | None) -> AsyncGenerator[FeedItem]:
        operation = "Reading changes of other servers"
        control = self._opened().database.control
        position = changes.Position.parse(after)
        with storage_errors(operation, self._address):
            if not await control.held():
                raise control.excluded(f"{operation} failed")
        with control.waker() as waker:
            resumed = position is not None
            while True:
                waker.event.clear()
                if waker.lost:
                    raise StorageUnavailable(
                        f"{operation} failed: the connection was lost ({self.description})."
                    )
                lease_changed, waker.lease_changed = waker.lease_changed or resumed, False
                resumed = False
                if lease_changed:
                    yield LeaseChanged()
                position, items = await self._control(
                    operation,
                    lambda connection, after=position: changes.read(connection, after, self.server_id),
                )
                for item in items:
                    yield item
                await asyncio.sleep(_PAUSE_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await waker.event.wait()

    async def _prune(self, opening: Opening) -> None:
        while True:
            await asyncio.sleep(_PRUNE_S)
            await opening.whole(self._keep_house(opening.database, "Pruning changes", changes.PRUNE))

    async def _fold_counts(self, opening: Opening) -> None:
        while True:
            await opening.jobs_written.wait()
            await asyncio.sleep(_FOLD_S)
            opening.jobs_written.clear()
            await opening.whole(
                self._keep_house(opening.database, "Counting jobs", FOLD_COUNTS, DROP_UNUSED_COUNTS)
            )

    async def _keep_house(self, database: Database, operation: str, *statements: str) -> None:
        """Execute the statements in a transaction, unless another server is at it. Errors are left to the next time."""
        with suppress(StorageError):
            async with database.writing(operation, "housekeeping") as session:
                if await session.fetchval(
                    "SELECT pg_try_advisory_xact_lock($1)", database.control.names.housekeeping
                ):
                    for statement in statements:
                        await session.execute(statement)
