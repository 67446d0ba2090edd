"""Pending write: the state of one record within a batch, committed and changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, Generic

from evalhub_server.plugins import AlreadyExists, NotFound
from evalhub_storage_sqlite.connection import Connection, read
from evalhub_storage_sqlite.record_mapper import R, RecordMapper, Rows, Stored, Transaction
from evalhub_storage_sqlite.repository import Repository
from evalhub_storage_sqlite.select import Key


class PendingWrite(Generic[R]):
    """Applies the operations of a batch on one record, one after the other; only their result is written.

    An operation that raises changes nothing. Documents are decoded when an operation needs them, so that a record that
    cannot be decoded can still be deleted.
    """

    def __init__(
        self, mapper: RecordMapper[R, Any], record_id: str, committed: Stored[R] | Rows[R] | None
    ) -> None:
        self.mapper = mapper
        self._id = record_id
        self._committed_seq = None if committed is None else committed.seq
        self._seq = self._committed_seq
        self._current: R | Rows[R] | None = committed.record if isinstance(committed, Stored) else committed
        self._changes: Any = None
        self._size_bytes = 0 if committed is None else committed.size_bytes

    @property
    def current(self) -> R | Rows[R] | None:
        return self._current

    def add(self, record: R, seq: int) -> None:
        """Raises :class:`AlreadyExists`, or :class:`StorageError` if the record cannot be written."""
        if self._current is not None:
            raise AlreadyExists(
                f"A {self.mapper.kind} {record.id} is stored already; give the new one another id."
            )
        self.put(record, self.mapper.changes(None, record), seq)

    def update(self, tenant: str | None, change: Callable[[R], R | None]) -> R:
        """Raises :class:`NotFound`, what ``change`` raises, or :class:`StorageError` if its result cannot be written."""
        before = self._found(self.mapper.visible, tenant)
        if isinstance(before, Rows):
            before = self._current = before.decode()
        after = change(before)
        if after is None or after is before:
            return before
        self.put(after, self.mapper.changes(before, after))
        return after

    def delete(self, tenant: str | None) -> None:
        """Raises :class:`NotFound`."""
        self._found(self.mapper.deletable, tenant)
        self.drop()

    def put(self, record: R, changes: Any, seq: int | None = None) -> None:
        """Set the record, with these changes to its rows; ``seq`` is needed if there is no record now."""
        if seq is not None:
            self._seq = seq
        if self._changes is None:
            self._changes = changes
        else:
            self._changes.add(changes)
        self._current = record
        self._size_bytes += changes.size_bytes

    def drop(self) -> None:
        self._current = self._seq = self._changes = None
        self._size_bytes = 0

    def write(self, transaction: Transaction) -> bool:
        """Add the rows to a transaction; return whether there are any."""
        stays = self._seq == self._committed_seq
        if stays and self._changes is None:
            return False
        if not stays and self._committed_seq is not None:
            self.mapper.delete(transaction, self._committed_seq)
        if self._seq is not None and self._current is not None and not isinstance(self._current, Rows):
            put = self.mapper.update if stays else self.mapper.insert
            put(transaction, self._seq, self._current, self._changes)
        return True

    def stored(self) -> Stored[R] | None:
        """Return the record as it is stored after the commit; None if it is deleted or not decoded."""
        if self._seq is None or self._current is None or isinstance(self._current, Rows):
            return None
        return Stored(seq=self._seq, record=self._current, size_bytes=self._size_bytes)

    def _found(self, allowed: Callable[[R | Rows[R], str | None], bool], tenant: str | None) -> R | Rows[R]:
        if self._current is None or not allowed(self._current, tenant):
            raise NotFound(f"There is no {self.mapper.kind} {self._id}.")
        return self._current


PendingWrites = Mapping[Key, PendingWrite[Any]]


async def load_pending_writes(
    connection: Connection,
    repositories: Mapping[str, Repository[Any]],
    keys: Iterable[Key],
    absent: Set[Key] = frozenset(),
) -> PendingWrites:
    """Return the records as committed; those that are not cached are read in one call, but for the ``absent`` ones."""
    known = {key: repositories[key[0]].records.get(key[1]) for key in keys}
    missing: dict[str, list[str]] = {}
    for (kind, record_id), stored in known.items():
        if stored is None and (kind, record_id) not in absent:
            missing.setdefault(kind, []).append(record_id)
    mappers = [(repositories[kind].mapper, ids) for kind, ids in missing.items()]
    rows = await connection.call(read, _rows, mappers) if mappers else {}
    return {
        key: PendingWrite(repositories[key[0]].mapper, key[1], stored or rows.get(key))
        for key, stored in known.items()
    }


def _rows(
    connection: sqlite3.Connection, mappers: Iterable[tuple[RecordMapper[Any, Any], Sequence[str]]]
) -> dict[Key, Rows[Any]]:
    return {
        (mapper.kind, record_id): rows
        for mapper, ids in mappers
        for record_id, rows in mapper.read(connection, ids).items()
    }
