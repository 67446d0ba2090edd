"""Operations on records: one task per operation; writes of one record are serialized."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from evalhub_server.plugins import (
    AnyResource,
    JobChange,
    JobCounts,
    JobFacetName,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    Lease,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Storage,
    StorageError,
    StorageUnavailable,
    kind_of,
)
from evalhub_storage_postgres import job_lists, jobs, resources
from evalhub_storage_postgres.control import retrieved
from evalhub_storage_postgres.database import Database
from evalhub_storage_postgres.faults import ChangeError
from evalhub_storage_postgres.record_cache import RecordCache, Versioned

if TYPE_CHECKING:
    import asyncpg

    from evalhub_storage_postgres.control import Session

T = TypeVar("T")

MAX_GROUP = 256
"""Maximum number of updates in one transaction."""

log = structlog.get_logger()


class Group:
    """Updates of one job that are written as one transaction, under the lease ``fence`` if there is one."""

    def __init__(self, fence: Lease | None) -> None:
        self.fence = fence
        self.updates: list[jobs.Update] = []
        self.task: asyncio.Task[list[jobs.Outcome]] | None = None


class Opening:
    """What an open storage and its fenced views share: the database, running operations, cached records."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.closed = False
        self.cache = RecordCache()
        self.groups: dict[str, Group] = {}
        """The group of updates of a job that later ones may join: its transaction has not begun."""
        self.jobs_written = asyncio.Event()
        """There may be changes of the numbers of jobs that :data:`job_counts.FOLD_COUNTS` has not seen."""
        self.jobs_written.set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to completion, even if the caller is cancelled."""
        return await asyncio.shield(self.started(work))

    def started(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        # A task is created at once, so that locks are taken in the order of the calls.
        task = asyncio.create_task(work, name="postgres")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(retrieved)
        return task

    async def finished(self) -> None:
        """Wait for all operations."""
        self.closed = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def write_group(self, job_id: str, group: Group) -> list[jobs.Outcome]:
        try:
            operation = f"Updating job {job_id}"
            async with self.database.turn(operation, _lock_name(job_id)) as session:
                self._end_group(job_id, group)  # later updates wait for the next turn
                outcomes, entry = await self._written(session, operation, job_id, group)
                if entry is not None:
                    self.cache.put(job_id, entry)
            self.jobs_written.set()
            return outcomes
        finally:
            self._end_group(job_id, group)

    async def _written(
        self, session: Session, operation: str, job_id: str, group: Group
    ) -> tuple[list[jobs.Outcome], Versioned | None]:
        arguments = session, job_id, group.updates, self.cache
        if group.fence is None and (written := await jobs.update_known(*arguments)):
            return written  # by one statement, which needs no transaction without a fence
        async with self.database.transaction(session, operation, group.fence):
            if group.fence is not None and (written := await jobs.update_known(*arguments)):
                return written
            return await jobs.update(*arguments)

    def _end_group(self, job_id: str, group: Group) -> None:
        if self.groups.get(job_id) is group:
            del self.groups[job_id]


def _lock_name(job_id: str) -> str:
    return f"job {job_id}"


class RecordOperations(Storage):
    """The reads and writes of a storage; writes under the lease ``_fence`` if there is one."""

    durable = True
    _opening: Opening | None = None
    _fence: Lease | None = None

    async def add_job(self, record: JobRecord) -> None:
        opening = self._opened()
        opening.groups.pop(record.id, None)  # writes of one job stay in the order of the calls

        async def add(session: Session) -> None:
            opening.cache.put(record.id, await jobs.add(session, record))
            opening.jobs_written.set()

        await self._write(f"Adding job {record.id}", _lock_name(record.id), add, is_statement=True)

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        cache = self._opened().cache
        return await self._read(
            f"Reading job {job_id}", lambda session: jobs.get(session, job_id, tenant, cache)
        )

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        opening = self._opened()
        group = opening.groups.get(job_id)
        if group is None or group.fence is not self._fence or len(group.updates) >= MAX_GROUP:
            group = opening.groups[job_id] = Group(self._fence)
            group.task = opening.started(opening.write_group(job_id, group))
        assert group.task is not None  # noqa: S101  set above
        number = len(group.updates)
        group.updates.append(jobs.Update(tenant, change))
        outcome = (await asyncio.shield(group.task))[number]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        opening = self._opened()
        opening.groups.pop(job_id, None)
        opening.cache.drop(job_id)

        async def delete(session: Session) -> None:
            await jobs.delete(session, job_id, tenant)
            opening.jobs_written.set()

        await self._write(f"Deleting job {job_id}", _lock_name(job_id), delete, is_statement=True)

    async def list_jobs(self, query: JobQuery) -> JobPage:
        total, items = await self._page("Listing jobs", lambda: job_lists.listing(query), jobs.decode)
        return JobPage(items=items, total_count=total)

    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        async def count(session: Session) -> list[tuple[Any, ...]]:
            sql, values = job_lists.counting(query, facets, max_jobs)
            return [tuple(row) for row in await session.fetch(sql, *values)]

        counts = job_lists.counts_of(await self._read("Counting jobs", count), facets)
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
        self,
        operation: str,
        lock_name: str,
        work: Callable[[Session], Coroutine[Any, Any, T]],
        *,
        is_statement: bool = False,
    ) -> T:
        """Call ``work`` in a transaction; ``is_statement``: it executes one statement, which needs none without a fence."""
        opening = self._opened()

        async def write() -> T:
            async with opening.database.turn(operation, lock_name) as session:
                if is_statement and self._fence is None:
                    return await work(session)
                async with opening.database.transaction(session, operation, self._fence):
                    return await work(session)

        try:
            return await opening.whole(write())
        except ChangeError as error:
            raise error.reason from None

    async def _read(self, operation: str, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        opening = self._opened()

        async def read() -> T:
            async with opening.database.reading(operation) as session:
                return await work(session)

        return await opening.whole(read())

    def _opened(self) -> Opening:
        if self._opening is None or self._opening.closed:
            raise StorageUnavailable(f"The storage is not open ({self.description}).")
        return self._opening


class FencedRecords(RecordOperations):
    """The view of an open storage whose writes are valid under a lease."""

    def __init__(self, opening: Opening, fence: Lease, description: str) -> None:
        self._opening = opening
        self._fence = fence
        self.description = description

    async def open(self) -> None:
        raise StorageError(f"A fenced view is open as long as its storage ({self.description}).")

    async def close(self) -> None:
        """Do nothing; the storage is closed."""
