"""What a batch writes, gathered into one transaction."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_storage_sqlite.connection import Row


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
