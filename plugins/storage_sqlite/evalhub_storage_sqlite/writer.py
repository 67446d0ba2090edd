"""The one task that writes.

Callers put an operation on a queue and wait for its outcome. The task takes all that are queued, works out on the
event loop what they come to (records are immutable and cached, so this is quick), and writes it as one transaction in
one hop: while the disk is busy with it, the next batch gathers. Outcomes go out after the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import StorageError
from evalhub_server.plugins import JobChange
from evalhub_storage_sqlite.cache import ListingCache, RecordCache
from evalhub_storage_sqlite.connection import Connection, read, write
from evalhub_storage_sqlite.draft import Draft
from evalhub_storage_sqlite.faults import UNUSABLE, storage_error
from evalhub_storage_sqlite.reads import jobs_by_id
from evalhub_storage_sqlite.statements import Transaction

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Operations per transaction: bounds for how long the event loop works on one batch."""


class _Operation(Struct, eq=False):
    """``apply`` changes the draft or raises. The future gets what the caller is to return, or to raise."""

    doing: str
    job_id: str
    apply: Callable[[Draft], JobRecord | None]
    outcome: asyncio.Future[JobRecord | Exception | None]

    def settle(self, outcome: JobRecord | Exception | None) -> None:
        """Tell the caller; a caller that was cancelled meanwhile has nobody to tell."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Writer:
    """Owns the connection that writes, and the task that it starts, until the end of ``drain``.

    Being cancelled while waiting is safe for a caller: its operation is dropped if no batch has taken it yet, and
    otherwise written whole. If the task dies, everyone who waits and everyone who comes gets a StorageError.
    """

    def __init__(
        self, connection: Connection, records: RecordCache, listings: ListingCache, where: str, last_seq: int
    ) -> None:
        self._connection = connection
        self._records = records
        self._listings = listings
        self._where = where
        self._last_seq = last_seq
        self._queue: asyncio.Queue[_Operation | None] = asyncio.Queue()
        self._batch: list[_Operation] = []
        self._refusal = ""
        self._task = asyncio.create_task(self._run(), name="sqlite-writer")
        self._task.add_done_callback(self._ended)

    async def add(self, record: JobRecord) -> None:
        await self._submit("Adding", record.id, lambda draft: draft.add(record, self._next_seq()))

    async def update(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        record = await self._submit("Updating", job_id, lambda draft: draft.update(tenant, change))
        assert record is not None  # noqa: S101 - for the type checker: an update has a record or raises
        return record

    async def delete(self, job_id: str, tenant: str | None) -> None:
        await self._submit("Deleting", job_id, lambda draft: draft.delete(tenant))

    async def drain(self) -> None:
        """Refuse new operations and wait until those that are queued are written. Idempotent, cancel-safe."""
        if not self._refusal:
            self._refusal = "the storage is closed"
            self._queue.put_nowait(None)
        await asyncio.wait([self._task])

    async def _submit(
        self, doing: str, job_id: str, apply: Callable[[Draft], JobRecord | None]
    ) -> JobRecord | None:
        doing = f"{doing} job {job_id}"
        if self._refusal:
            raise StorageError(f"{doing} failed: {self._refusal}.")
        operation = _Operation(doing, job_id, apply, asyncio.get_running_loop().create_future())
        self._queue.put_nowait(operation)
        outcome = await operation.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

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
            drafts = await self._drafts(dict.fromkeys(each.job_id for each in batch))
        except UNUSABLE as error:
            self._fail(batch, error)
            return
        outcomes = [_attempt(each, drafts[each.job_id]) for each in batch]
        transaction = Transaction()
        written = {job_id: draft for job_id, draft in drafts.items() if draft.write(transaction)}
        try:
            if statements := transaction.statements():
                await self._connection.call(write, statements)
        except BaseException as error:
            # Usually nothing is stored, but a disk that fails in the commit leaves that open: read again.
            for job_id in written:
                self._records.publish(job_id, None)
            self._listings.clear()
            if not isinstance(error, UNUSABLE):
                raise
            self._fail(batch, error)
            return
        for job_id, draft in written.items():
            self._records.publish(job_id, draft.stored())
        if transaction.relists:
            self._listings.clear()
        for operation, outcome in zip(batch, outcomes, strict=True):
            operation.settle(outcome)

    async def _drafts(self, job_ids: Iterable[str]) -> dict[str, Draft]:
        """Return the jobs as they are committed, all that are not cached with one hop."""
        known = {job_id: self._records.get(job_id) for job_id in job_ids}
        missing = [job_id for job_id, stored in known.items() if stored is None]
        rows = await self._connection.call(read, jobs_by_id, missing) if missing else {}
        return {job_id: Draft(job_id, stored or rows.get(job_id)) for job_id, stored in known.items()}

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


def _attempt(operation: _Operation, draft: Draft) -> JobRecord | Exception | None:
    try:
        return operation.apply(draft)
    except Exception as error:  # noqa: BLE001 - whatever a change raises belongs to its caller, not to this task
        return error
