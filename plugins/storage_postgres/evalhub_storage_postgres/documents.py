"""Records as documents, and what can go wrong in making them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from evalhub_server.errors import StorageError

_to_json = msgspec.json.Encoder().encode


class Record(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


def encode(document: Struct, decode: Callable[[bytes], object]) -> bytes:
    """Return the document as JSON that ``decode`` takes. Raises ValueError or TypeError if there is none."""
    # What is written can be read back: msgspec writes an infinite number as null, which is no number any more, and
    # a record that cannot be decoded would spoil every list that it is in.
    doc = _to_json(document)
    decode(doc)
    return doc


@contextmanager
def encoding(word: str, record_id: str) -> Generator[None]:
    """Turn what encoding raises into a StorageError that names the record."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"{word.capitalize()} {record_id} cannot be stored, since a part of it cannot be written: {error}. "
            f"Correct what was sent."
        ) from error


@contextmanager
def decoding(word: str, record_id: str) -> Generator[None]:
    """Turn what decoding raises into a StorageError that names the record."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{word.capitalize()} {record_id} cannot be read back: {error}. "
            f"Delete the {word}, or restore the database from a backup."
        ) from error


def check_identity(word: str, before: Record, after: Record) -> None:
    """Raise a StorageError if a change made another record of it."""
    if type(before) is not type(after) or _identity(before) != _identity(after):
        raise StorageError(
            f"{word.capitalize()} {before.id}: a change must keep id, tenant, owner and creation time."
        )


def _identity(record: Record) -> tuple[object, ...]:
    return record.id, record.tenant, record.owner, record.created_at
