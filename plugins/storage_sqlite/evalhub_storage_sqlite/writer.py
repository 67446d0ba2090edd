"""The one task that writes.

Callers put an operation on a queue and wait for its outcome. The task takes all that are queued, works out on the
event loop what they come to (records are immutable and cached, so this is quick), and writes it as one transaction in
one hop: while the disk is busy with it, the next batch gathers. Outcomes go out after the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from msgspec import Struct

from evalhub_server.domain.resource import AnyResource
from evalhub_server.errors import StorageError, StorageUnavailable
from evalhub_storage_sqlite.connection import Connection, read, write
from evalhub_storage_sqlite.draft import Draft, Drafts, load_drafts
from evalhub_storage_sqlite.family import Family, R
from evalhub_storage_sqlite.faults import UNUSABLE, storage_error
from evalhub_storage_sqlite.reads import Key, system_keys
from evalhub_storage_sqlite.shelf import Shelf
from evalhub_storage_sqlite.system import by_key, replace_system
from evalhub_storage_sqlite.transaction import Transaction

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
