"""One job within a batch: what is committed, and what the batch has made of it so far."""

from __future__ import annotations

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import AlreadyExists, NotFound
from evalhub_server.plugins import JobChange
from evalhub_storage_sqlite.cache import Stored
from evalhub_storage_sqlite.documents import Changes, JobRows, changes, decode
from evalhub_storage_sqlite.statements import Transaction


class Draft:
    """Operations on the job follow each other here; only the sum of them is written.

    An operation that raises leaves the draft as it was. Documents from the database are decoded when an operation
    needs them, so that a job that cannot be decoded can at least be deleted.
    """

    def __init__(self, job_id: str, committed: Stored | JobRows | None) -> None:
        self._id = job_id
        self._committed_seq = None if committed is None else committed.seq
        self._seq = self._committed_seq
        self._current: JobRecord | JobRows | None = (
            committed.record if isinstance(committed, Stored) else committed
        )
        self._changes: Changes | None = None

    def add(self, record: JobRecord, seq: int) -> None:
        """Raises :class:`AlreadyExists`, or :class:`StorageError` if the record cannot be written."""
        if self._current is not None:
            raise AlreadyExists(f"A job {record.id} is stored already; give the new one another id.")
        self._changes = changes(None, record)
        self._current, self._seq = record, seq

    def update(self, tenant: str | None, change: JobChange) -> JobRecord:
        """Raises :class:`NotFound`, what ``change`` raises, or :class:`StorageError` if its result cannot be written."""
        before = self._visible(tenant)
        if isinstance(before, JobRows):
            before = self._current = decode(before)
        after = change(before)
        if after is None or after is before:
            return before
        later = changes(before, after)
        if self._changes is None:
            self._changes = later
        else:
            self._changes.add(later)
        self._current = after
        return after

    def delete(self, tenant: str | None) -> None:
        """Raises :class:`NotFound`."""
        self._visible(tenant)
        self._current = self._seq = self._changes = None

    def write(self, transaction: Transaction) -> bool:
        """Add the rows to a transaction; say whether there are any."""
        stays = self._seq == self._committed_seq
        if stays and self._changes is None:
            return False
        if not stays and self._committed_seq is not None:
            transaction.delete(self._committed_seq)
        if self._seq is not None and self._changes is not None and isinstance(self._current, JobRecord):
            put = transaction.update if stays else transaction.insert
            put(self._seq, self._current, self._changes)
        return True

    def stored(self) -> Stored | None:
        """Return what is stored once the transaction is committed, if it is known decoded."""
        if self._seq is None or not isinstance(self._current, JobRecord):
            return None
        return Stored(seq=self._seq, record=self._current)

    def _visible(self, tenant: str | None) -> JobRecord | JobRows:
        if self._current is None or tenant not in (None, self._current.tenant):
            raise NotFound(f"There is no job {self._id}.")
        return self._current
