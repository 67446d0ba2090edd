"""Conversion of record values to column values and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from evalhub_storage_sqlite.connection import Row

MAX_INTEGER = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def check_columns(values: Row) -> None:
    """Raise for text or an integer that SQLite cannot store: for this record alone, before it joins a batch."""
    for value in values:
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise OverflowError(f"{value} is more than 64 bits")


def microseconds(moment: datetime) -> int:
    """Return the time since 1970 in UTC, as times are stored: exact, and integers sort as times do."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND
