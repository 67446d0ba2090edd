"""The storage: reads have connections of their own and see one state of the database; writes happen one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb
from duckdb import DuckDBPyConnection

from evalhub_server.plugins import (
    RESOURCE_ORDERS,
    SYSTEM_OWNER,
    AlreadyExists,
    AnyResource,
    JobChange,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    NotFound,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    StartupError,
    Storage,
    StorageError,
    StorageLost,
    StorageUnavailable,
    UnsafePath,
    check_directory,
    check_file,
    check_identity,
    kind_of,
    make_private,
    merge_system_resource,
    safe_path,
)
from evalhub_storage_duckdb.rows import (
    DELETE,
    GET,
    INSERT,
    JOB,
    REPLACE,
    TABLE,
    AnyRecord,
    Conditions,
    conditions_of,
    decode,
    is_system,
    row_of,
)

T = TypeVar("T")

MAX_OFFSET = 2**62


class DuckdbStorage(Storage):
    durable = True

    def __init__(self, file: Path, *, shared: bool = False) -> None:
        self.description = f"DuckDB database {file}"
        self.local_file = file
        self._file = file
        self._shared = shared
        self._database: DuckDBPyConnection | None = None
        self._identity = (0, 0)
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        self._database = await asyncio.to_thread(self._connect)

    def _connect(self) -> DuckDBPyConnection:
        try:
            file = safe_path(self._file, shared=self._shared)
            make_private(file.parent)
            check_directory(file.parent, shared=self._shared)
            check_file(file, shared=self._shared)
            database = duckdb.connect(str(file))
            database.execute(TABLE)
        except (UnsafePath, OSError, duckdb.Error) as error:
            raise StartupError(
                f"{self._file} cannot be opened: {error} Correct duckdb.file, or stop the other server that uses it."
            ) from error
        self._identity = self._find_identity()
        return database

    async def verify(self) -> None:
        self._check_identity()

    def _find_identity(self) -> tuple[int, int]:
        try:
            found = self._file.stat()
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    def _check_identity(self) -> None:
        if self._find_identity() != self._identity:
            raise StorageLost(
                f"{self._file} was removed or replaced while the server used it. Start it again."
            )

    async def size_bytes(self) -> int | None:
        return self._file.stat().st_size if self._file.exists() else None

    async def close(self) -> None:
        async with self._writing:
            database, self._database = self._database, None
            if database is not None:
                await asyncio.to_thread(database.close)

    # --- one call of the database

    async def _call(self, function: Callable[[DuckDBPyConnection], T]) -> T:
        """Run a function in a thread, with a connection of its own, as one transaction."""
        if self._database is None:
            raise StorageError(f"The storage is not open ({self.description}).")
        return await asyncio.to_thread(self._transaction, self._database, function)

    def _transaction(self, database: DuckDBPyConnection, function: Callable[[DuckDBPyConnection], T]) -> T:
        try:
            with database.cursor() as connection:  # without a commit, its end is a rollback
                connection.begin()
                result = function(connection)
                connection.commit()
        except duckdb.FatalException as error:
            raise StorageLost(f"{self._file}: {error}") from error
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            raise StorageUnavailable(f"{self._file}: {error}") from error
        except duckdb.Error as error:
            raise StorageError(f"{self._file}: {error}") from error
        self._check_identity()
        return result

    async def _exclusively(self, write: Coroutine[Any, Any, T]) -> T:
        """Run a write to its end, also if the caller is cancelled, and no other one meanwhile."""

        async def locked() -> T:
            async with self._writing:
                return await write

        return await asyncio.shield(asyncio.create_task(locked()))

    # --- records of any kind

    async def _get(self, kind: str, record_id: str, tenant: str | None) -> AnyRecord:
        found = await self._call(lambda connection: connection.execute(GET, [kind, record_id]).fetchone())
        record = decode(kind, record_id, found[0]) if found else None
        if record is None or not (is_system(record) or tenant in (None, record.tenant)):
            raise NotFound(f"There is no {kind} {record_id}.")
        return record

    async def _add(self, kind: str, record: AnyRecord) -> None:
        row = row_of(kind, record)

        def insert(connection: DuckDBPyConnection) -> bool:
            if connection.execute(GET, [kind, record.id]).fetchone():
                return False
            connection.execute(INSERT, row)
            return True

        if not await self._call(insert):
            raise AlreadyExists(f"A {kind} {record.id} is stored already; give the new one another id.")

    async def _update(
        self, kind: str, record_id: str, tenant: str | None, change: Callable[[Any], AnyRecord | None]
    ) -> AnyRecord:
        before = await self._get(kind, record_id, tenant)
        after = change(before)
        if after is None or after is before:
            return before
        check_identity(kind, before, after)
        row = row_of(kind, after)
        await self._call(lambda connection: connection.execute(REPLACE, row))
        return after

    async def _delete(self, kind: str, record_id: str, tenant: str | None) -> None:
        if is_system(await self._get(kind, record_id, tenant)):
            raise NotFound(f"There is no {kind} {record_id} that can be deleted.")
        await self._call(lambda connection: connection.execute(DELETE, [kind, record_id]))

    async def _select(
        self, conditions: Conditions, order: str, limit: int, offset: int
    ) -> tuple[list[AnyRecord], int]:
        """Return a page of records and the number of all, from one state of the database."""
        where = " AND ".join(sql for sql, _ in conditions)
        values = [value for _, values in conditions for value in values]
        count = f"SELECT count(*) FROM records WHERE {where}"  # noqa: S608  values are parameters
        page = f"SELECT kind, id, document FROM records WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"  # noqa: S608

        def select(connection: DuckDBPyConnection) -> tuple[list[AnyRecord], int]:
            (total,) = connection.execute(count, values).fetchall()[0]
            rows = connection.execute(page, [*values, limit, min(offset, MAX_OFFSET)]).fetchall()
            return [decode(*row) for row in rows], total

        return await self._call(select)

    # --- jobs

    async def add_job(self, record: JobRecord) -> None:
        await self._exclusively(self._add(JOB, record))

    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        return cast("JobRecord", await self._get(JOB, job_id, tenant))

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        return cast("JobRecord", await self._exclusively(self._update(JOB, job_id, tenant, change)))

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self._exclusively(self._delete(JOB, job_id, tenant))

    async def open_jobs(self) -> list[JobRecord]:
        found, _ = await self._select([("kind = ? AND is_open", [JOB])], "created_at, id", MAX_OFFSET, 0)
        return cast("list[JobRecord]", found)

    async def list_jobs(self, query: JobQuery) -> JobPage:
        conditions: Conditions = [("kind = ?", [JOB])]
        if query.tenant is not None:
            conditions.append(("tenant = ?", [query.tenant]))
        if query.name_prefix:
            conditions.append(("starts_with(name, ?)", [query.name_prefix]))
        if query.created_after is not None:
            conditions.append(("created_at >= ?", [query.created_after]))
        if query.created_before is not None:
            conditions.append(("created_at < ?", [query.created_before]))
        if query.pinned is not None:
            conditions.append(("pinned = ?", [query.pinned]))
        conditions += conditions_of(
            query.labels,
            status=query.status,
            name=query.name,
            tags=query.tags,
            owner=query.owner,
            experiment_id=query.experiment_id,
        )
        way = "DESC" if query.descending else "ASC"
        order = f"{query.sort} {way} NULLS LAST, created_at {way}, id {way}"
        items, total = await self._select(conditions, order, query.limit, query.offset)
        return JobPage(items=cast("list[JobRecord]", items), total_count=total)

    # --- providers, collections and baselines

    async def add_resource(self, record: AnyResource) -> None:
        await self._exclusively(self._add(kind_of(record), record))

    async def get_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> AnyResource:
        return cast("AnyResource", await self._get(kind, resource_id, tenant))

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        update = self._update(kind, resource_id, tenant, change)
        return cast("AnyResource", await self._exclusively(update))

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await self._exclusively(self._delete(kind, resource_id, tenant))

    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        conditions: Conditions = [("kind = ?", [query.kind])]
        if query.tenant is not None:
            conditions.append(("(tenant = ? OR owner = ?)", [query.tenant, SYSTEM_OWNER]))
        if query.system is not None:
            conditions.append(("(owner = ?) = ?", [SYSTEM_OWNER, query.system]))
        conditions += conditions_of(query.labels, name=query.name, owner=query.owner, category=query.category)
        order = RESOURCE_ORDERS[query.sort, query.descending]
        items, total = await self._select(conditions, order, query.limit, query.offset)
        return ResourcePage(items=cast("list[AnyResource]", items), total_count=total)

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await self._exclusively(self._replace_system({(kind_of(each), each.id): each for each in records}))

    async def _replace_system(self, records: dict[tuple[str, str], AnyResource]) -> None:
        def replace(connection: DuckDBPyConnection) -> None:
            rows = connection.execute("SELECT kind, id, owner, document FROM records WHERE kind <> ?", [JOB])
            for kind, record_id, owner, document in rows.fetchall():
                record = records.pop((kind, record_id), None)
                if owner != SYSTEM_OWNER:
                    continue  # a tenant's record with this id is kept
                if record is None:
                    connection.execute(DELETE, [kind, record_id])
                    continue
                before = cast("AnyResource", decode(kind, record_id, document))
                after = merge_system_resource(before, record)
                if after is not before:
                    connection.execute(REPLACE, row_of(kind, after))
            for (kind, _), record in records.items():
                connection.execute(INSERT, row_of(kind, record))

        await self._call(replace)
