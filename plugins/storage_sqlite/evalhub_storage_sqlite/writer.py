"""The writer: one task that collects changes into batches and commits each batch as one transaction."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from functools import partial
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    SYSTEM_OWNER,
    AnyResource,
    CollectionRecord,
    StorageError,
    StorageUnavailable,
    kind_of,
    merge_system_resource,
)
from evalhub_storage_sqlite.columns import moment
from evalhub_storage_sqlite.connection import Connection, read, write
from evalhub_storage_sqlite.faults import UNUSABLE, storage_error
from evalhub_storage_sqlite.pending_write import PendingWrite, PendingWrites, load_pending_writes
from evalhub_storage_sqlite.record_mapper import R, RecordMapper, Rows, Transaction
from evalhub_storage_sqlite.repository import Repository
from evalhub_storage_sqlite.resources import ResourceMapper, ResourceRows
from evalhub_storage_sqlite.select import Key, system_keys


def by_key(records: Sequence[AnyResource]) -> dict[Key, AnyResource]:
    return {(kind_of(record).value, record.id): record for record in records}


def replace_system(
    writes: PendingWrites, records: Mapping[Key, AnyResource], next_seq: Callable[[], int]
) -> None:
    """Replace all system resources by ``records``. ``writes`` has an entry for each of both.

    Raises:
        StorageError: a record cannot be written; nothing has changed.
    """
    steps: list[Callable[[], None]] = []
    for key, pending in writes.items():
        if not isinstance(pending.mapper, ResourceMapper):
            continue
        if key in records:
            steps += _merge(pending, records[key], next_seq)
        elif pending.current is not None and pending.current.owner == SYSTEM_OWNER:
            steps.append(pending.drop)
    for step in steps:
        step()


def _merge(
    pending: PendingWrite[AnyResource], record: AnyResource, next_seq: Callable[[], int]
) -> Sequence[Callable[[], None]]:
    before = pending.current
    if before is None:
        return [partial(pending.put, record, pending.mapper.changes(None, record), next_seq())]
    if before.owner != SYSTEM_OWNER:
        return []
    if isinstance(before, Rows):
        try:
            before = before.decode()
        except StorageError:
            # Written by a version with another structure of configurations: keep what has a column, replace the rest.
            record = _with_columns(cast("ResourceRows", before), record)
            return [partial(pending.put, record, pending.mapper.changes(None, record))]
    after = merge_system_resource(before, record)
    return [] if after is before else [partial(pending.put, after, pending.mapper.changes(before, after))]


def _with_columns(rows: ResourceRows, record: AnyResource) -> AnyResource:
    kept: dict[str, Any] = {"created_at": moment(rows.created_at)}
    if isinstance(record, CollectionRecord):
        kept["run_count"] = rows.run_count
    return msgspec.structs.replace(record, **kept)


log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BATCH = 256
"""Maximum operations per transaction; it bounds how long the event loop works on one batch."""
GATHER_S = 0.01
"""How long a batch waits for more operations while they arrive."""
ADDING = "Adding"


class _Operation(Struct, eq=False):
    """One call of the storage. ``apply`` changes pending writes or raises; ``outcome`` gets its result or exception.

    It needs the pending writes of ``keys``, and with ``system`` those of all system resources. ``verb`` begins its name in messages.
    """

    verb: str
    keys: Sequence[Key]
    apply: Callable[[PendingWrites], object]
    outcome: asyncio.Future[object]
    system: bool = False

    @property
    def name(self) -> str:
        record = "the system's providers and collections" if self.system else " ".join(self.keys[0])
        return f"{self.verb} {record}"

    def settle(self, outcome: object) -> None:
        """Pass the outcome to the caller, unless that was cancelled."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Writer:
    """Owns the write connection and the writer task until ``drain`` returns.

    A caller may be cancelled while it waits: its operation is dropped if no batch has taken it yet, and otherwise
    written as a whole. ``check`` is that of :func:`write`. If the task dies, waiting callers get a StorageError and later callers a StorageUnavailable.
    """

    def __init__(
        self,
        connection: Connection,
        repositories: Iterable[Repository[Any]],
        description: str,
        last_seq: int,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._repositories = {repository.mapper.kind: repository for repository in repositories}
        self._order = [
            sql for repository in self._repositories.values() for sql in repository.mapper.statements
        ]
        self._description = description
        self._last_seq = last_seq
        self._check = check
        self._queue: asyncio.Queue[_Operation | None] = asyncio.Queue()
        self._batch: list[_Operation] = []
        self._refusal = ""
        self._task = asyncio.create_task(self._run(), name="sqlite-writer")
        self._task.add_done_callback(self._ended)

    async def add(self, mapper: RecordMapper[R, Any], record: R) -> None:
        await self._submit(ADDING, mapper, record.id, lambda pending: pending.add(record, self._next_seq()))

    async def update(
        self,
        mapper: RecordMapper[R, Any],
        record_id: str,
        tenant: str | None,
        change: Callable[[R], R | None],
    ) -> R:
        return await self._submit(
            "Updating", mapper, record_id, lambda pending: pending.update(tenant, change)
        )

    async def delete(self, mapper: RecordMapper[R, Any], record_id: str, tenant: str | None) -> None:
        await self._submit("Deleting", mapper, record_id, lambda pending: pending.delete(tenant))

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        wanted = by_key(records)
        await self._queued(
            "Replacing",
            list(wanted),
            lambda writes: replace_system(writes, wanted, self._next_seq),
            system=True,
        )

    async def drain(self) -> None:
        """Refuse new operations and wait until the queued ones are written. Idempotent, cancel-safe."""
        if not self._refusal:
            self._refusal = "the storage is closed"
            self._queue.put_nowait(None)
        await asyncio.wait([self._task])

    def _submit(
        self, verb: str, mapper: RecordMapper[R, Any], record_id: str, apply: Callable[[PendingWrite[R]], T]
    ) -> Awaitable[T]:
        key = (mapper.kind, record_id)
        return self._queued(verb, (key,), lambda writes: apply(writes[key]))

    async def _queued(
        self, verb: str, keys: Sequence[Key], apply: Callable[[PendingWrites], T], *, system: bool = False
    ) -> T:
        operation = _Operation(verb, keys, apply, asyncio.get_running_loop().create_future(), system)
        if self._refusal:
            raise StorageUnavailable(f"{operation.name} failed: {self._refusal}.")
        self._queue.put_nowait(operation)
        outcome = await operation.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return cast("T", outcome)

    def _next_seq(self) -> int:
        self._last_seq += 1  # numbers of failed batches are not used again; gaps do no harm
        return self._last_seq

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            queued = [await self._queue.get()]
            self._batch = [each for each in queued if each is not None]
            # Requests that arrived with the first queue their operations meanwhile: one commit instead of two.
            await self._gather()
            while not self._queue.empty() and len(queued) < MAX_BATCH:
                queued.append(self._queue.get_nowait())
            stopping = None in queued
            self._batch = [each for each in queued if each is not None and not each.outcome.done()]
            if self._batch:
                await self._write(self._batch)
                self._batch = []

    async def _gather(self) -> None:
        """Wait for more operations, as long as each iteration of the event loop brings some."""
        until = time.monotonic() + GATHER_S
        size = -1
        while size < self._queue.qsize() < MAX_BATCH and time.monotonic() < until:
            size = self._queue.qsize()
            await asyncio.sleep(0)

    async def _write(self, batch: list[_Operation], *, look_up_new: bool = False) -> None:
        """Apply the operations and commit; all are settled when this returns.

        Whether a new record exists is left to the UNIQUE constraint, which saves a read. If one does, the operations are
        applied once more, with all records read.
        """
        new = frozenset[Key]() if look_up_new else _new_keys(batch)
        try:
            keys = [key for each in batch for key in each.keys]
            if any(each.system for each in batch):
                keys += await self._connection.call(read, system_keys)
            writes = await load_pending_writes(self._connection, self._repositories, keys, new)
        except UNUSABLE as error:
            self._fail(batch, error)
            return
        outcomes = [_attempt(each, writes) for each in batch]
        transaction = Transaction(self._order)
        written = {key: pending for key, pending in writes.items() if pending.write(transaction)}
        try:
            if statements := transaction.statements():
                for kind in transaction.changed_lists:
                    self._repositories[kind].listings.hold()
                await self._connection.call(write, statements, self._check)
        except BaseException as error:
            # Usually nothing is stored, but a disk fault during the commit leaves that open: drop the cached records.
            for kind, record_id in written:
                self._repositories[kind].records.publish(record_id, None)
                self._repositories[kind].listings.clear()
            if not isinstance(error, UNUSABLE):
                raise
            if new and isinstance(error, sqlite3.IntegrityError):
                await self._write(batch, look_up_new=True)
            else:
                self._fail(batch, error)
            return
        for (kind, record_id), pending in written.items():
            self._repositories[kind].records.publish(record_id, pending.stored())
        for kind in transaction.changed_lists:
            self._repositories[kind].listings.clear()
        for operation, outcome in zip(batch, outcomes, strict=True):
            operation.settle(outcome)

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        log.error("a batch of %d operations was not written: %s (%s)", len(batch), error, self._description)
        for operation in batch:
            operation.settle(storage_error(operation.name, self._description, error))

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = "it was cancelled" if task.cancelled() else task.exception()
        if error is None:
            return
        log.critical("the writer task has died: %s (%s)", error, self._description)
        self._refusal = f"the writer task of {self._description} has died ({error}); restart the server"
        while not self._queue.empty():
            if (queued := self._queue.get_nowait()) is not None:
                self._batch.append(queued)
        for operation in self._batch:
            operation.settle(StorageError(f"{operation.name} may have failed: {self._refusal}."))
        self._batch = []


def _new_keys(batch: Iterable[_Operation]) -> Set[Key]:
    """The keys of the records that are added and not concerned by another operation of the batch."""
    times = Counter(key for each in batch for key in each.keys)
    return {key for each in batch if each.verb == ADDING for key in each.keys if times[key] == 1}


def _attempt(operation: _Operation, writes: PendingWrites) -> object:
    try:
        return operation.apply(writes)
    except Exception as error:  # noqa: BLE001 - an exception of a change goes to its caller, not to this task
        return error
