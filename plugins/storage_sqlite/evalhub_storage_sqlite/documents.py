"""Columns and documents: how values of a record are written so that they can be read back."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from evalhub_server.errors import StorageError
from evalhub_storage_sqlite.connection import Row

MAX_INTEGER = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_to_json = msgspec.json.Encoder().encode


def encode(document: Struct, decode: Callable[[bytes], object]) -> bytes:
    """Return the document as JSON that ``decode`` takes. Raises ValueError or TypeError if there is none."""
    # What is written can be read back: msgspec writes an infinite number as null, which is no number any more, and
    # a record that cannot be decoded would spoil every list that it is in.
    doc = _to_json(document)
    decode(doc)
    return doc


def check_columns(values: Row) -> None:
    """Raise for text or an integer that SQLite cannot hold: for this record alone, before it shares a batch."""
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


@contextmanager
def decoding(word: str, record_id: str) -> Generator[None]:
    """Turn what decoding raises (msgspec's errors, an unknown state) into a StorageError that names the record."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{word.capitalize()} {record_id} cannot be read back: {error}. "
            f"Delete the {word}, or restore the database from a backup."
        ) from error
