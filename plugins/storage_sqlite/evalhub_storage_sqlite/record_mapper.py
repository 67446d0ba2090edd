"""What jobs, providers and collections have in common, and where they differ: all that the writer knows of them."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct

from evalhub_server.plugins import UNWRITABLE, Record, check_identity, unwritable
from evalhub_storage_sqlite.connection import Row

R = TypeVar("R", bound=Record)


class Transaction:
    """Rows by statement: each statement is one call, however many records it is for. ``order`` is that of the calls."""

    def __init__(self, order: Iterable[str]) -> None:
        self._rows: dict[str, list[Row]] = {sql: [] for sql in order}
        self.relists: set[str] = set()
        """Words of the families in which something changes that lists filter or sort by."""

    def add(self, sql: str, *rows: Row) -> None:
        self._rows[sql].extend(rows)

    def statements(self) -> list[tuple[str, list[Row]]]:
        """Return what there is to execute, in order. Empty: nothing."""
        return [(sql, rows) for sql, rows in self._rows.items() if rows]


class Changes(Protocol):
    """What an update writes, encoded."""

    @property
    def size_bytes(self) -> int:
        """How long its documents are."""
        ...

    def add(self, later: Any, /) -> None:
        """Take in what a later update of the same record writes."""


C = TypeVar("C", bound=Changes)


class Stored(Struct, Generic[R], kw_only=True, frozen=True):
    """A committed record and the key of its rows.

    ``size_bytes``: its documents are at most that long. What updates have replaced counts, until it is read again.
    """

    seq: int
    record: R
    size_bytes: int


class Rows(Struct, Generic[R], kw_only=True, frozen=True):
    """A record as it comes from the database, not yet decoded."""

    seq: int
    id: str
    tenant: str
    owner: str
    created_at: int

    @property
    def size_bytes(self) -> int:
        """How long its documents are."""
        raise NotImplementedError

    def decode(self) -> R:
        """Make the record again. Raises :class:`StorageError` if a document has not the shape that is written."""
        raise NotImplementedError


class Family(ABC, Generic[R, C]):
    """One kind of record: who sees it, and how it is read and written."""

    word: str
    """What messages call it; no other family has it."""

    statements: tuple[str, ...]
    """All SQL that ``insert``, ``update`` and ``delete`` use, in the order in which a transaction has to execute it."""

    def visible(self, record: R | Rows[R], tenant: str | None) -> bool:
        return tenant in (None, record.tenant)

    def deletable(self, record: R | Rows[R], tenant: str | None) -> bool:
        return self.visible(record, tenant)

    @abstractmethod
    def weight(self, record: R) -> int:
        """Return how many benchmarks it carries, which is what its size depends on."""

    @abstractmethod
    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows[R]]:
        """Return the rows of those that there are. Runs in a connection's thread."""

    def changes(self, before: R | None, after: R) -> C:
        """Encode what is different; everything if there is no ``before``.

        Raises:
            StorageError: the change gave the record another kind, id, tenant, owner or creation time.
            StorageError: something in the record cannot be written as JSON or text, or read back.
        """
        if before is not None:
            check_identity(self.word, before, after)
        try:
            return self._changes(before, after)
        except UNWRITABLE as error:
            raise unwritable(self.word, after.id, error) from error

    @abstractmethod
    def _changes(self, before: R | None, after: R) -> C: ...

    @abstractmethod
    def insert(self, transaction: Transaction, seq: int, record: R, changes: C) -> None:
        """Store a new record. ``changes`` are all of it, as :meth:`changes` without a ``before`` gives them."""

    @abstractmethod
    def update(self, transaction: Transaction, seq: int, record: R, changes: C) -> None:
        """Write ``changes`` over the rows of a record that is stored."""

    @abstractmethod
    def delete(self, transaction: Transaction, seq: int) -> None:
        """Remove all rows. Of a ``seq``, a transaction has at most one of these three."""
