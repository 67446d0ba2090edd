"""The writer: one task that collects changes into batches and commits each batch as one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
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
from evalhub_storage_sqlite.pending_write import Draft, Drafts, load_drafts
from evalhub_storage_sqlite.record_mapper import Family, R, Rows, Transaction
from evalhub_storage_sqlite.repository import Shelf
from evalhub_storage_sqlite.resource_documents import ResourceRows
from evalhub_storage_sqlite.resources import ResourceFamily
from evalhub_storage_sqlite.select import Key, system_keys


def by_key(records: Sequence[AnyResource]) -> dict[Key, AnyResource]:
    return {(kind_of(record).value, record.id): record for record in records}


def replace_system(drafts: Drafts, records: Mapping[Key, AnyResource], next_seq: Callable[[], int]) -> None:
    """Make ``records`` all that the system has. ``drafts`` have these, and all that the system has now.

    Raises:
        StorageError: a record cannot be written; no draft has changed.
    """
    steps: list[Callable[[], None]] = []
    for key, draft in drafts.items():
        if not isinstance(draft.family, ResourceFamily):
            continue
        if key in records:
            steps += _renewal(draft, records[key], next_seq)
        elif draft.current is not None and draft.current.owner == SYSTEM_OWNER:
            steps.append(draft.drop)
    for step in steps:
        step()


def _renewal(
    draft: Draft[AnyResource], record: AnyResource, next_seq: Callable[[], int]
) -> Sequence[Callable[[], None]]:
    before = draft.current
    if before is None:
        return [partial(draft.put, record, draft.family.changes(None, record), next_seq())]
    if before.owner != SYSTEM_OWNER:
        return []
    if isinstance(before, Rows):
        try:
            before = before.decode()
        except StorageError:
            # Written by a version whose configs had another shape: what has a column is kept, the rest is replaced.
            record = _with_columns(cast("ResourceRows", before), record)
            return [partial(draft.put, record, draft.family.changes(None, record))]
    after = merge_system_resource(before, record)
    return [] if after is before else [partial(draft.put, after, draft.family.changes(before, after))]


def _with_columns(rows: ResourceRows, record: AnyResource) -> AnyResource:
    kept: dict[str, Any] = {"created_at": moment(rows.created_at)}
    if isinstance(record, CollectionRecord):
        kept["run_count"] = rows.run_count
    return msgspec.structs.replace(record, **kept)


log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_BATCH = 256
"""Operations per transaction: bounds for how long the event loop works on one batch."""


class _Operation(Struct, eq=False):
    """``apply`` changes drafts or raises. The future gets what the caller is to return, or to raise.

    It needs the drafts of ``keys``, and with ``system`` those of all that the system has.
    """

    doing: str
    keys: Sequence[Key]
    apply: Callable[[Drafts], object]
    outcome: asyncio.Future[object]
    system: bool = False

    def settle(self, outcome: object) -> None:
        """Tell the caller; a caller that was cancelled meanwhile has nobody to tell."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Writer:
    """Owns the connection that writes, and the task that it starts, until the end of ``drain``.

    Being cancelled while waiting is safe for a caller: its operation is dropped if no batch has taken it yet, and
    otherwise written whole. If the task dies, everyone who waits gets a StorageError, and everyone who comes a
    StorageUnavailable.
    """

    def __init__(
        self, connection: Connection, shelves: Iterable[Shelf[Any]], where: str, last_seq: int
    ) -> None:
        self._connection = connection
        self._shelves = {shelf.family.word: shelf for shelf in shelves}
        self._order = [sql for shelf in self._shelves.values() for sql in shelf.family.statements]
        self._where = where
        self._last_seq = last_seq
        self._queue: asyncio.Queue[_Operation | None] = asyncio.Queue()
        self._batch: list[_Operation] = []
        self._refusal = ""
        self._task = asyncio.create_task(self._run(), name="sqlite-writer")
        self._task.add_done_callback(self._ended)

    async def add(self, family: Family[R, Any], record: R) -> None:
        await self._submit("Adding", family, record.id, lambda draft: draft.add(record, self._next_seq()))

    async def update(
        self,
        family: Family[R, Any],
        record_id: str,
        tenant: str | None,
        change: Callable[[R], R | None],
    ) -> R:
        return await self._submit("Updating", family, record_id, lambda draft: draft.update(tenant, change))

    async def delete(self, family: Family[R, Any], record_id: str, tenant: str | None) -> None:
        await self._submit("Deleting", family, record_id, lambda draft: draft.delete(tenant))

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        wanted = by_key(records)
        await self._queued(
            "Replacing the system's providers and collections",
            list(wanted),
            lambda drafts: replace_system(drafts, wanted, self._next_seq),
            system=True,
        )

    async def drain(self) -> None:
        """Refuse new operations and wait until those that are queued are written. Idempotent, cancel-safe."""
        if not self._refusal:
            self._refusal = "the storage is closed"
            self._queue.put_nowait(None)
        await asyncio.wait([self._task])

    def _submit(
        self, doing: str, family: Family[R, Any], record_id: str, apply: Callable[[Draft[R]], T]
    ) -> Awaitable[T]:
        key = (family.word, record_id)
        return self._queued(f"{doing} {family.word} {record_id}", (key,), lambda drafts: apply(drafts[key]))

    async def _queued(
        self, doing: str, keys: Sequence[Key], apply: Callable[[Drafts], T], *, system: bool = False
    ) -> T:
        if self._refusal:
            raise StorageUnavailable(f"{doing} failed: {self._refusal}.")
        operation = _Operation(doing, keys, apply, asyncio.get_running_loop().create_future(), system)
        self._queue.put_nowait(operation)
        outcome = await operation.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return cast("T", outcome)

    def _next_seq(self) -> int:
        self._last_seq += 1  # a number that a failed batch took is never used; nobody minds gaps
        return self._last_seq

    async def _run(self) -> None:
        stopping = False
        while not stopping:
            queued = [await self._queue.get()]
            while not self._queue.empty() and len(queued) < MAX_BATCH:
                queued.append(self._queue.get_nowait())
            stopping = None in queued
            self._batch = [each for each in queued if each is not None and not each.outcome.done()]
            if self._batch:
                await self._write(self._batch)
                self._batch = []

    async def _write(self, batch: list[_Operation]) -> None:
        """Run the operations and commit; every one of them is settled when this returns."""
        try:
            keys = [key for each in batch for key in each.keys]
            if any(each.system for each in batch):
                keys += await self._connection.call(read, system_keys)
            drafts = await load_drafts(self._connection, self._shelves, keys)
        except UNUSABLE as error:
            self._fail(batch, error)
            return
        outcomes = [_attempt(each, drafts) for each in batch]
        transaction = Transaction(self._order)
        written = {key: draft for key, draft in drafts.items() if draft.write(transaction)}
        try:
            if statements := transaction.statements():
                for word in transaction.relists:
                    self._shelves[word].listings.hold()
                await self._connection.call(write, statements)
        except BaseException as error:
            # Usually nothing is stored, but a disk that fails in the commit leaves that open: read again.
            for word, record_id in written:
                self._shelves[word].records.publish(record_id, None)
                self._shelves[word].listings.clear()
            if not isinstance(error, UNUSABLE):
                raise
            self._fail(batch, error)
            return
        for (word, record_id), draft in written.items():
            self._shelves[word].records.publish(record_id, draft.stored())
        for word in transaction.relists:
            self._shelves[word].listings.clear()
        for operation, outcome in zip(batch, outcomes, strict=True):
            operation.settle(outcome)

    def _fail(self, batch: list[_Operation], error: Exception) -> None:
        log.error("a batch of %d operations was not written: %s (%s)", len(batch), error, self._where)
        for operation in batch:
            operation.settle(storage_error(operation.doing, self._where, error))

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = "it was cancelled" if task.cancelled() else task.exception()
        if error is None:
            return
        log.critical("the writer task has died: %s (%s)", error, self._where)
        self._refusal = f"the writer task of {self._where} has died ({error}); restart the server"
        while not self._queue.empty():
            if (queued := self._queue.get_nowait()) is not None:
                self._batch.append(queued)
        for operation in self._batch:
            operation.settle(StorageError(f"{operation.doing} may have failed: {self._refusal}."))
        self._batch = []


def _attempt(operation: _Operation, drafts: Drafts) -> object:
    try:
        return operation.apply(drafts)
    except Exception as error:  # noqa: BLE001 - whatever a change raises belongs to its caller, not to this task
        return error
