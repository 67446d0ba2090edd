"""The SQLite storage: the :class:`Storage` interface over caches, readers and the writer."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

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
    StartupError,
    Storage,
    StorageError,
    StorageLost,
    StorageUnavailable,
    kind_of,
)
from evalhub_storage_sqlite import backup, select
from evalhub_storage_sqlite.connection import Connection, connect_reader, connect_writer
from evalhub_storage_sqlite.database_files import DatabaseFiles
from evalhub_storage_sqlite.facets import build_job_counts, count_jobs
from evalhub_storage_sqlite.faults import fix_for
from evalhub_storage_sqlite.jobs import JOBS
from evalhub_storage_sqlite.repository import Repository
from evalhub_storage_sqlite.resources import RESOURCES
from evalhub_storage_sqlite.schema import migrate
from evalhub_storage_sqlite.sql_builder import build_job_list, build_resource_list, cache_key
from evalhub_storage_sqlite.verification import Verification
from evalhub_storage_sqlite.writer import Writer

T = TypeVar("T")

log = structlog.get_logger()


class SqliteStorage(Storage):
    """Jobs, providers and collections in the database file ``path``, or in memory if it is None.

    A file has one write and one read connection, so that a long list does not delay an event. A database in memory has
    one connection for both. A get returns the very object that the last
    write left while it is cached: ``cached_records`` of its kind, and fewer of finished jobs. ``migration`` converts the jobs of a database of an
    earlier version.
    """

    def __init__(
        self,
        path: Path | None,
        cached_records: int = 1024,
        migration: JobMigration | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._path = path
        self._shared = shared
        self._migration = migration or JobMigration()
        self.local_file = path
        self.durable = path is not None
        self.description = f"SQLite file {path}" if path else "SQLite in memory; lost when the server exits"
        self._cached_records = cached_records
        self._jobs: Repository[JobRecord] | None = None
        self._resources: dict[Kind, Repository[AnyResource]] | None = None
        self._files: DatabaseFiles | None = None
        self._verification: Verification | None = None
        self._main: Connection | None = None
        self._reader: Connection | None = None
        self._writer: Writer | None = None
        self._closing = asyncio.Lock()

    async def open(self) -> None:
        if self._main is not None:
            raise StorageError(f"The storage is open already ({self.description}).")
        try:
            await self._open()
        except BaseException as error:
            await self._disconnect(clean=False)
            if isinstance(error, (sqlite3.Error, OSError)):
                reason = error.strerror if isinstance(error, OSError) else error
                raise StartupError(
                    f"The database {self._path} cannot be opened: {reason}. {_startup_fix(error)}"
                ) from error
            raise

    async def _open(self) -> None:
        path = None
        if self._path is not None:
            self._files = DatabaseFiles(self._path, shared=self._shared)
            self._files.claim()
            path = self._files.path
        self._main = await connect_writer(path)
        if self._files is not None and self._files.unclean:
            self._verification = Verification(self._files.path)
            await self._verification.start()
        await self._main.call(migrate, path, migration=self._migration)
        if self._files is not None:
            self._files.opened()
        last_seq = await self._main.call(select.last_seq)
        self._reader = self._main if path is None else await connect_reader(path)
        settings = self._reader, self.description, self._cached_records
        self._jobs = Repository(JOBS, *settings)
        self._resources = {kind: Repository(mapper, *settings) for kind, mapper in RESOURCES.items()}
        repositories = (self._jobs, *self._resources.values())
        self._writer = Writer(self._main, repositories, self.description, last_seq, self._check)

    async def verify(self) -> None:
        await asyncio.to_thread(self._check)

    def _check(self) -> None:
        """Raise :class:`StorageLost` if the files were removed or replaced, or found to be damaged. Thread-safe."""
        if self._files is not None:
            self._files.check()
        if self._verification is not None and self._verification.damage:
            raise StorageLost(self._verification.damage)

    async def close(self) -> None:
        """Finish the queued writes, then disconnect. Idempotent; may be called again after a cancellation."""
        async with self._closing:
            if self._writer is not None:
                await self._writer.drain()
            await self._disconnect(clean=self._main is not None)

    async def _disconnect(self, *, clean: bool) -> None:
        try:
            if self._verification is not None:
                clean = await self._verification.stop() and clean
            connections = [self._verification, self._reader, self._main]
            try:
                self._check()
            except StorageLost:
                clean = False
                connections.reverse()
            # Closing the last connection copies the write-ahead log into the database and removes it, by name: of a file
            # that was replaced, that would be another database's. A connection that only reads can do neither.
            for connection in connections:
                if connection is not None:
                    await connection.close()
        finally:
            self._reader = self._main = self._writer = self._verification = None
            self._jobs = self._resources = (
                None  # without the lock the file may change: the caches are of no use
            )
            if self._files is not None:
                self._files.release(clean=clean)
                self._files = None

    async def size_bytes(self) -> int | None:
        if self._path is None:
            return None
        path = self._path
        return await asyncio.to_thread(lambda: sum(map(_size, (path, path.with_name(f"{path.name}-wal")))))

    async def backup(self, target: Path) -> None:
        await asyncio.to_thread(backup.copy, self._file(), target)

    async def restore(self, source: Path) -> None:
        await asyncio.to_thread(backup.restore, source, self._file())

    async def examine(self, source: Path | None, on_record: OnRecord) -> list[str]:
        path = self._file() if source is None else source
        return await asyncio.to_thread(backup.examine, path, on_record, immutable=source is not None)

    def _file(self) -> Path:
        if self._path is None:
            raise StorageError(
                "The database is in memory. Name the server's with --data-dir or database.url."
            )
        return self._path

    async def add_job(self, record: JobRecord) -> None:
        await self._opened(self._writer).add(JOBS, record)

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        return await self._opened(self._writer).update(JOBS, job_id, tenant, change)

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self._opened(self._writer).delete(JOBS, job_id, tenant)

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        return await self._opened(self._jobs).get(job_id, tenant)

    async def list_jobs(self, query: JobQuery) -> JobPage:
        items, total = await self._opened(self._jobs).page(cache_key(query), partial(build_job_list, query))
        return JobPage(items=items, total_count=total)

    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        queries = build_job_counts(query, facets, max_jobs)
        if queries is None:
            return JobCounts(jobs=0, values={facet: {} for facet in facets})
        return await self._opened(self._jobs).read("Counting jobs", count_jobs, queries, facets)

    async def open_jobs(self) -> list[JobRecord]:
        jobs, operation = self._opened(self._jobs), "Listing open jobs"
        ids = await jobs.read(operation, select.open_ids)
        try:
            return await jobs.get_all(ids, operation)
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.Error):
                raise  # the database, not one job
        # A job that cannot be decoded must not prevent the start, or it could never be deleted.
        found: list[JobRecord] = []
        for job_id in ids:
            try:
                found += await jobs.get_all([job_id], f"Reading job {job_id}")
            except StorageError as error:
                log.error("open job left out", job_id=job_id, error=str(error))
        return found

    async def add_resource(self, record: AnyResource) -> None:
        await self._opened(self._writer).add(RESOURCES[kind_of(record)], record)

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        return await self._opened(self._writer).update(RESOURCES[kind], resource_id, tenant, change)

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await self._opened(self._writer).delete(RESOURCES[kind], resource_id, tenant)

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await self._opened(self._writer).replace_system(records)

    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        return await self._opened(self._resources)[kind].get(resource_id, tenant)

    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        repository = self._opened(self._resources)[query.kind]
        # A snapshot: a reload of the system resources shows in all of the page or not at all.
        items, total = await repository.snapshot(cache_key(query), partial(build_resource_list, query))
        return ResourcePage(items=items, total_count=total)

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise StorageUnavailable(f"The storage is not open ({self.description}).")
        return part


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def _startup_fix(error: Exception) -> str:
    if isinstance(error, OSError):
        return "Make the directory writable for the server, or give database.url or --data-dir another path."
    return fix_for(error)
