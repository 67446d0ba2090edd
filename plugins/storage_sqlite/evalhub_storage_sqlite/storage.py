"""The storage: what callers ask for, answered from the caches or the database."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import NotFound, StartupError, StorageError
from evalhub_server.plugins import JobChange, JobPage, JobQuery, Storage
from evalhub_storage_sqlite import reads
from evalhub_storage_sqlite.cache import Listing, ListingCache, RecordCache, Stored
from evalhub_storage_sqlite.connection import Connection, connect_reader, connect_writer, read
from evalhub_storage_sqlite.faults import UNUSABLE, fix_for, storage_error
from evalhub_storage_sqlite.lock import FileLock
from evalhub_storage_sqlite.queries import build
from evalhub_storage_sqlite.schema import migrate
from evalhub_storage_sqlite.writer import Writer

T = TypeVar("T")

log = structlog.get_logger()


class SqliteStorage(Storage):
    """Jobs in the database file ``path``, or in memory if it is None.

    A file has a connection that writes and one that reads, so a long list never delays an event. A database in memory
    has one connection for both. A record that a write left is what ``get_job`` returns, the very object, for as
    long as it is among the ``cached_jobs`` used last.
    """

    def __init__(self, path: Path | None, cached_jobs: int = 1024) -> None:
        self._path = path
        self.durable = path is not None
        self.description = f"SQLite file {path}" if path else "SQLite in memory; jobs end with the server"
        self._cached_jobs = cached_jobs
        self._records = RecordCache(cached_jobs)
        self._listings = ListingCache()
        self._lock: FileLock | None = None
        self._main: Connection | None = None
        self._reader: Connection | None = None
        self._writer: Writer | None = None
        self._closing = asyncio.Lock()

    async def open(self) -> None:
        if self._main is not None:
            raise StorageError(f"The storage is open already ({self.description}).")
        try:
            await self._open(self._path and self._path.resolve())
        except BaseException as error:
            await self._disconnect()
            if isinstance(error, (sqlite3.Error, OSError)):
                reason = error.strerror if isinstance(error, OSError) else error
                raise StartupError(
                    f"The database {self._path} cannot be opened: {reason}. {_startup_fix(error)}"
                ) from error
            raise

    async def _open(self, path: Path | None) -> None:
        if path is not None:
            self._lock = _claim(path)
        self._main = await connect_writer(path)
        await self._main.call(migrate, path)
        last_seq = await self._main.call(reads.last_seq)
        self._reader = self._main if path is None else await connect_reader(path)
        self._writer = Writer(self._main, self._records, self._listings, self.description, last_seq)

    async def close(self) -> None:
        """Finish what is being written, then disconnect. Idempotent; a call that was cancelled can be repeated."""
        async with self._closing:
            if self._writer is not None:
                await self._writer.drain()
            await self._disconnect()

    async def _disconnect(self) -> None:
        try:
            # The writer last: the last connection that is closed folds the write-ahead log into the file.
            for connection in (self._reader, self._main):
                if connection is not None:
                    await connection.close()
        finally:
            self._reader = self._main = self._writer = None
            # Without the lock the file may change. New caches, because a read that is ending may hold the old ones.
            self._records = RecordCache(self._cached_jobs)
            self._listings = ListingCache()
            if self._lock is not None:
                self._lock.release()

    async def add_job(self, record: JobRecord) -> None:
        await self._opened(self._writer).add(record)

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        return await self._opened(self._writer).update(job_id, tenant, change)

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self._opened(self._writer).delete(job_id, tenant)

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        stored = self._records.get(job_id)
        if stored is None:
            stored = (await self._load([job_id], f"Reading job {job_id}")).get(job_id)
        if stored is None or tenant not in (None, stored.record.tenant):
            raise NotFound(f"There is no job {job_id}.")
        return stored.record

    async def list_jobs(self, query: JobQuery) -> JobPage:
        listing = self._listings.get(query) or await self._listing(query)
        items = await self._records_of(listing.ids, "Listing jobs")
        return JobPage(items=items, total_count=listing.total_count)

    async def open_jobs(self) -> list[JobRecord]:
        doing = "Listing open jobs"
        try:
            ids = await self._opened(self._reader).call(read, reads.open_ids)
        except UNUSABLE as error:
            raise storage_error(doing, self.description, error) from error
        try:
            return await self._records_of(ids, doing)
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.Error):
                raise  # the database, not one job
        # One that cannot be decoded must not keep the server from starting: it could not even be deleted then.
        found: list[JobRecord] = []
        for job_id in ids:
            try:
                found += await self._records_of([job_id], f"Reading job {job_id}")
            except StorageError as error:
                log.error("open job left out", job_id=job_id, error=str(error))
        return found

    async def _listing(self, query: JobQuery) -> Listing:
        sql = build(query)
        if sql is None:
            return Listing(ids=(), total_count=0)
        listings, version = self._listings, self._listings.version
        try:
            listing = await self._opened(self._reader).call(read, reads.listing, sql, query)
        except UNUSABLE as error:
            raise storage_error("Listing jobs", self.description, error) from error
        listings.fill(version, query, listing)
        return listing

    async def _records_of(self, ids: Sequence[str], doing: str) -> list[JobRecord]:
        """Return the jobs in this order, without those that were deleted meanwhile."""
        known = {job_id: self._records.get(job_id) for job_id in ids}
        missing = [job_id for job_id, stored in known.items() if stored is None]
        if missing:
            known |= await self._load(missing, doing)
        return [stored.record for stored in known.values() if stored is not None]

    async def _load(self, ids: Sequence[str], doing: str) -> dict[str, Stored]:
        reader, records = self._opened(self._reader), self._records
        try:
            with records.reading() as touched:
                found = await reader.call(read, reads.records_by_id, ids)
                return {job_id: records.fill(touched, job_id, each) for job_id, each in found.items()}
        except UNUSABLE as error:
            raise storage_error(doing, self.description, error) from error

    def _opened(self, part: T | None) -> T:
        if part is None:
            raise StorageError(f"The storage is not open ({self.description}).")
        return part


def _claim(path: Path) -> FileLock:
    """Make the directory and the file if they are missing, readable for nobody else, and lock the database."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(path)
    lock.acquire()
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would make it readable for all
    except BaseException:
        lock.release()
        raise
    return lock


def _startup_fix(error: Exception) -> str:
    if isinstance(error, OSError):
        return "Make the directory writable for the server, or give database.url or --data-dir another path."
    return fix_for(error)
