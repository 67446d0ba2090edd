"""Record mapper: the interface through which the writer reads and writes jobs, providers and collections."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from evalhub_server.plugins import UNWRITABLE, Record, unwritable
from evalhub_storage_sqlite.connection import Row

R = TypeVar("R", bound=Record)


class Transaction:
    """Rows by SQL statement: each statement is executed once for all its rows. ``order`` lists the statements."""

    def __init__(self, order: Sequence[str]) -> None:
        self._order = order
        self._rows: dict[str, list[Row]] = {}
        self.changed_lists: set[str] = set()
        """Kinds of record of which something changes that lists filter or sort by."""

    def add(self, sql: str, *rows: Row) -> None:
        if rows:
            self._rows.setdefault(sql, []).extend(rows)

    def statements(self) -> list[tuple[str, list[Row]]]:
        """Return the statements that have rows, in order."""
        return [(sql, self._rows[sql]) for sql in sorted(self._rows, key=self._order.index)]


class Changes(Protocol):
    """The encoded rows that an update writes."""

    @property
    def size_bytes(self) -> int:
        """Total length of its documents."""
        ...

    def add(self, later: Any, /) -> None:
        """Add the rows that a later update of the same record writes."""


C = TypeVar("C", bound=Changes)


class Stored(Struct, Generic[R], kw_only=True, frozen=True):
    """A committed record and the key of its rows.

    ``size_bytes`` is an upper bound of the length of its documents: replaced documents count until it is read again.
    """

    seq: int
    record: R
    size_bytes: int


class Rows(Struct, Generic[R], kw_only=True, frozen=True):
    """A record as read from the database, not yet decoded."""

    seq: int
    id: str
    tenant: str
    owner: str
    created_at: int

    @property
    def size_bytes(self) -> int:
        """Total length of its documents."""
        raise NotImplementedError

    def decode(self) -> R:
        """Raises :class:`StorageError` if a document does not have the structure that is written."""
        raise NotImplementedError


class RecordMapper(ABC, Generic[R, C]):
    """One kind of record: its visibility, and how it is read and written."""

    kind: str
    """The kind's name in messages, unique among mappers."""

    statements: tuple[str, ...]
    """All SQL that ``insert``, ``update`` and ``delete`` use, in the order in which a transaction must execute it."""

    def visible(self, record: R | Rows[R], tenant: str | None) -> bool:
        return tenant in (None, record.tenant)

    def deletable(self, record: R | Rows[R], tenant: str | None) -> bool:
        return self.visible(record, tenant)

    @abstractmethod
    def weight(self, record: R) -> int:
        """Return the number of its benchmarks, on which its size depends."""

    def finished(self, record: R) -> bool:
        """Return whether it is not expected to change much."""
        return False

    @abstractmethod
    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows[R]]:
        """Return the rows of the records that exist, by id. Runs in a connection's thread."""

    def changes(self, before: R | None, after: R) -> C:
        """Encode what differs from ``before``; everything if that is None.

        Raises:
            StorageError: the change gave the record another kind, id, tenant, owner or creation time.
            StorageError: something in the record cannot be written as JSON or text, or read back.
        """
        try:
            return self._changes(before, after)
        except UNWRITABLE as error:
            raise unwritable(self.kind, after.id, error) from error

    @abstractmethod
    def _changes(self, before: R | None, after: R) -> C:
        """Raises :data:`UNWRITABLE`, and :class:`StorageError` as ``check_identity`` does."""

    @abstractmethod
    def insert(self, transaction: Transaction, seq: int, record: R, changes: C) -> None:
        """Insert a new record. ``changes`` are all its rows, as :meth:`changes` returns them without ``before``."""

    @abstractmethod
    def update(self, transaction: Transaction, seq: int, record: R, changes: C) -> None:
        """Update the rows of a stored record."""

    @abstractmethod
    def delete(self, transaction: Transaction, seq: int) -> None:
        """Delete all rows. A transaction has at most one of these three operations per ``seq``."""
