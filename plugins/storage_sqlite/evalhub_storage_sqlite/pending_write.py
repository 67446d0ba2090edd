"""One record within a batch: what is committed, and what the batch has made of it so far."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic

from evalhub_server.plugins import AlreadyExists, NotFound
from evalhub_storage_sqlite.connection import Connection, read
from evalhub_storage_sqlite.record_mapper import Family, R, Rows, Stored, Transaction
from evalhub_storage_sqlite.repository import Shelf
from evalhub_storage_sqlite.select import Key


class Draft(Generic[R]):
    """Operations on the record follow each other here; only the sum of them is written.

    An operation that raises leaves the draft as it was. Documents from the database are decoded when an operation
    needs them, so that a record that cannot be decoded can at least be deleted.
    """

    def __init__(self, family: Family[R, Any], record_id: str, committed: Stored[R] | Rows[R] | None) -> None:
        self.family = family
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
                f"A {self.family.word} {record.id} is stored already; give the new one another id."
            )
        self.put(record, self.family.changes(None, record), seq)

    def update(self, tenant: str | None, change: Callable[[R], R | None]) -> R:
        """Raises :class:`NotFound`, what ``change`` raises, or :class:`StorageError` if its result cannot be written."""
        before = self._found(self.family.visible, tenant)
        if isinstance(before, Rows):
            before = self._current = before.decode()
        after = change(before)
        if after is None or after is before:
            return before
        self.put(after, self.family.changes(before, after))
        return after

    def delete(self, tenant: str | None) -> None:
        """Raises :class:`NotFound`."""
        self._found(self.family.deletable, tenant)
        self.drop()

    def put(self, record: R, changes: Any, seq: int | None = None) -> None:
        """Make it ``record``, with these changes to its rows; ``seq`` if there is no record now."""
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
        """Add the rows to a transaction; say whether there are any."""
        stays = self._seq == self._committed_seq
        if stays and self._changes is None:
            return False
        if not stays and self._committed_seq is not None:
            self.family.delete(transaction, self._committed_seq)
        if self._seq is not None and self._current is not None and not isinstance(self._current, Rows):
            put = self.family.update if stays else self.family.insert
            put(transaction, self._seq, self._current, self._changes)
        return True

    def stored(self) -> Stored[R] | None:
        """Return what is stored once the transaction is committed, if it is known decoded."""
        if self._seq is None or self._current is None or isinstance(self._current, Rows):
            return None
        return Stored(seq=self._seq, record=self._current, size_bytes=self._size_bytes)

    def _found(self, allowed: Callable[[R | Rows[R], str | None], bool], tenant: str | None) -> R | Rows[R]:
        if self._current is None or not allowed(self._current, tenant):
            raise NotFound(f"There is no {self.family.word} {self._id}.")
        return self._current


Drafts = Mapping[Key, Draft[Any]]


async def load_drafts(
    connection: Connection, shelves: Mapping[str, Shelf[Any]], keys: Iterable[Key]
) -> Drafts:
    """Return the records as they are committed, all that are not cached with one hop."""
    known = {key: shelves[key[0]].records.get(key[1]) for key in keys}
    missing: dict[str, list[str]] = {}
    for (word, record_id), stored in known.items():
        if stored is None:
            missing.setdefault(word, []).append(record_id)
    families = [(shelves[word].family, ids) for word, ids in missing.items()]
    rows = await connection.call(read, _rows, families) if families else {}
    return {
        key: Draft(shelves[key[0]].family, key[1], stored or rows.get(key)) for key, stored in known.items()
    }


def _rows(
    connection: sqlite3.Connection, families: Iterable[tuple[Family[Any, Any], Sequence[str]]]
) -> dict[Key, Rows[Any]]:
    return {
        (family.word, record_id): rows
        for family, ids in families
        for record_id, rows in family.read(connection, ids).items()
    }
