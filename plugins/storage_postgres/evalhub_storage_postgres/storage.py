"""The PostgreSQL storage: one task per operation; writes of one record are serialized."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from evalhub_server.plugins import (
    AnyResource,
    JobChange,
    JobCounts,
    JobFacetName,
    JobMigration,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    OnRecord,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Storage,
    StorageError,
    StorageUnavailable,
    kind_of,
)
from evalhub_storage_postgres import backup, jobs, resources
from evalhub_storage_postgres.address import Address
from evalhub_storage_postgres.database import Database, connect
from evalhub_storage_postgres.faults import ChangeError, storage_errors
from evalhub_storage_postgres.record_cache import RecordCache
from evalhub_storage_postgres.schema import migrate

if TYPE_CHECKING:
    import asyncpg

    from evalhub_storage_postgres.database import Connection, Session

T = TypeVar("T")

_SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND starts_with(relname, 'evalhub_')
"""
RESTORE_TIMEOUT_S = 3600.0
CLOSE_TIMEOUT_S = 10.0
MAX_GROUP = 256
"""Maximum number of updates in one transaction."""

log = structlog.get_logger()


class _Group:
    """Updates of one job that are written as one transaction."""

    def __init__(self) -> None:
        self.updates: list[jobs.Update] = []
        self.task: asyncio.Task[list[jobs.Outcome]] | None = None


def _lock_name(job_id: str) -> str:
    return f"job {job_id}"


class PostgresStorage(Storage):
    """Jobs, providers and collections in the PostgreSQL database at ``address``.

    A cancelled caller does not interrupt its operation. Updates of one job that wait at the same time are written as one
    transaction. Writes of one job are executed in the order of the calls, and so
    are all writes of providers and collections; row locks in the database guard against other programs. Job records are
    cached, and used while their row has the version that was read. If a connection breaks during a commit, it is unknown whether that was written, and the caller gets a
    :class:`StorageError`.

    ``timeout_s``: time limit of one statement. ``patience_s``: how long ``open`` waits for another server to exit.
    ``migration`` converts the jobs of a database of an earlier version.
    """

    durable = True

    def __init__(
        self,
        address: Address,
        *,
        max_connections: int = 10,
        max_lifetime_s: float = 0,
        timeout_s: float = 30,
        patience_s: float = 10,
        migration: JobMigration | None = None,
    ) -> None:
        self.description = f"PostgreSQL database {address.redacted_url}"
        self._address = address
        self._migration = migration or JobMigration()
        self._make_database = partial(
            Database, address, max_connections=max_connections, max_lifetime_s=max_lifetime_s
        )
        self._timeout_s = timeout_s
        self._migrate: Callable[[Session], Coroutine[Any, Any, None]] = lambda session: migrate(
            session, address.redacted_url, self._migration
        )
        self._patience_s = patience_s
        self._database: Database | None = None
        self._closed = False
        self._closing = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cache = RecordCache()
        self._groups: dict[str, _Group] = {}
        """The group of updates of a job that later ones may join: its transaction has not begun."""

    async def open(self) -> None:
        if self._database is not None:
            raise StorageError(f"The storage is open already ({self.description}).")
        database = self._make_database(timeout_s=self._timeout_s)
        await database.open(self._patience_s, self._migrate)
        self._database, self._closed = database, False

    async def close(self) -> None:
        """Finish all operations, then disconnect. Idempotent; may be called again after a cancellation."""
        async with self._closing:
            self._closed = True
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self._database is not None:
                await self._database.close()
            self._database = None

    async def size_bytes(self) -> int | None:
        return await self._read("Measuring the database", lambda session: session.fetchval(_SIZE))

    async def backup(self, target: Path) -> None:
        async with self._separate("Backing up the database") as connection:
            await backup.write(connection, target)

    async def restore(self, source: Path) -> None:
        database = self._make_database(timeout_s=RESTORE_TIMEOUT_S)
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
            connection = await connect(self._address)
            try:
                yield connection
            finally:
                await connection.close(timeout=CLOSE_TIMEOUT_S)

    async def add_job(self, record: JobRecord) -> None:
        self._groups.pop(record.id, None)  # writes of one job stay in the order of the calls
        await self._write(
            f"Adding job {record.id}", _lock_name(record.id), lambda session: jobs.add(session, record)
        )

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        return await self._read(
            f"Reading job {job_id}", lambda session: jobs.get(session, job_id, tenant, self._cache)
        )

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        database = self._opened()
        group = self._groups.get(job_id)
        if group is None or len(group.updates) >= MAX_GROUP:
            group = self._groups[job_id] = _Group()
            group.task = self._started(self._write_group(database, job_id, group))
        assert group.task is not None  # noqa: S101  set above
        number = len(group.updates)
        group.updates.append(jobs.Update(tenant, change))
        outcome = (await asyncio.shield(group.task))[number]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _write_group(self, database: Database, job_id: str, group: _Group) -> list[jobs.Outcome]:
        try:
            async with database.writing(f"Updating job {job_id}", _lock_name(job_id)) as session:
                self._end_group(job_id, group)  # later updates wait for the next transaction
                outcomes, entry = await jobs.update(session, job_id, group.updates, self._cache)
            if entry is not None:
                self._cache.put(job_id, entry)
            return outcomes
        finally:
            self._end_group(job_id, group)

    def _end_group(self, job_id: str, group: _Group) -> None:
        if self._groups.get(job_id) is group:
            del self._groups[job_id]

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        self._groups.pop(job_id, None)
        self._cache.drop(job_id)
        await self._write(
            f"Deleting job {job_id}",
            _lock_name(job_id),
            lambda session: jobs.delete(session, job_id, tenant),
        )

    async def list_jobs(self, query: JobQuery) -> JobPage:
        total, items = await self._page("Listing jobs", lambda: jobs.listing(query), jobs.decode)
        return JobPage(items=items, total_count=total)

    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        async def count(session: Session) -> list[tuple[Any, ...]]:
            sql, values = jobs.counting(query, facets, max_jobs)
            return [tuple(row) for row in await session.fetch(sql, *values)]

        counts = jobs.counts_of(await self._read("Counting jobs", count), facets)
        return counts or await super().count_jobs(query, facets, max_jobs)

    async def open_jobs(self) -> list[JobRecord]:
        found: list[JobRecord] = []
        for row in await self._read("Listing open jobs", lambda session: session.fetch(jobs.OPEN)):
            try:
                found.append(jobs.decode(*row))
            except StorageError as error:
                # It must not prevent the start, or it could never be deleted.
                log.error("open job left out", job_id=row["id"], error=str(error))
        return found

    async def add_resource(self, record: AnyResource) -> None:
        await self._write_resource(
            f"Adding {kind_of(record)} {record.id}", lambda session: resources.add(session, record)
        )

    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        return await self._read(
            f"Reading {kind} {resource_id}",
            lambda session: resources.get(session, kind, resource_id, tenant),
        )

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        return await self._write_resource(
            f"Updating {kind} {resource_id}",
            lambda session: resources.update(session, kind, resource_id, tenant, change),
        )

    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        total, items = await self._page(
            f"Listing {query.kind}s", lambda: resources.listing(query), partial(resources.decode, query.kind)
        )
        return ResourcePage(items=items, total_count=total)

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await self._write_resource(
            f"Deleting {kind} {resource_id}",
            lambda session: resources.delete(session, kind, resource_id, tenant),
        )

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await self._write_resource(
            "Replacing the system's providers and collections",
            lambda session: resources.replace_system(session, records),
        )

    async def _page(
        self, operation: str, listing: Callable[[], tuple[str, list[Any]]], decode: Callable[..., T]
    ) -> tuple[int, list[T]]:
        async def read(session: Session) -> list[asyncpg.Record]:
            sql, values = listing()
            return await session.fetch(sql, *values)

        rows = await self._read(operation, read)
        documents = [tuple(row)[2:] for row in rows if row["place"] is not None]
        # In a thread, so that a long page does not block the event loop.
        return rows[0]["total"], await asyncio.to_thread(lambda: [decode(*each) for each in documents])

    async def _write_resource(self, operation: str, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        # Replacing the system resources may touch any of them, and they are few and rarely written: one lock for all.
        return await self._write(operation, "resources", work)

    async def _write(
        self, operation: str, lock_name: str, work: Callable[[Session], Coroutine[Any, Any, T]]
    ) -> T:
        database = self._opened()

        async def write() -> T:
            async with database.writing(operation, lock_name) as session:
                return await work(session)

        try:
            return await self._whole(write())
        except ChangeError as error:
            raise error.reason from None

    async def _read(self, operation: str, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        database = self._opened()

        async def read() -> T:
            async with database.reading(operation) as session:
                return await work(session)

        return await self._whole(read())

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to completion, even if the caller is cancelled."""
        return await asyncio.shield(self._started(work))

    def _started(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # A task is created at once, so that locks are taken in the order of the calls.
        task = asyncio.create_task(work, name="postgres")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _opened(self) -> Database:
        if self._database is None or self._closed:
            raise StorageUnavailable(f"The storage is not open ({self.description}).")
        return self._database
