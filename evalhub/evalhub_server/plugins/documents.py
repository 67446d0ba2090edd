"""For storages: records as JSON documents that can be read back, and clear errors for those that cannot."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from evalhub_server.domain.record import JobPlan
from evalhub_server.errors import StorageError
from evalhub_server.models.job import JobRequest


class Record(Protocol):
    """What a job, a provider and a collection have in common, and no change may touch."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


class JobDefinition(Struct, kw_only=True, frozen=True):
    """What a job was made with. It hardly ever changes, so that it is worth a document of its own."""

    request: JobRequest
    plan: JobPlan


_to_json = msgspec.json.Encoder().encode


def encode(document: Struct, decode: Callable[[bytes], object]) -> bytes:
    """Return the document as JSON that ``decode`` takes. Raises :data:`UNWRITABLE` if there is none."""
    # What is written can be read back: msgspec writes an infinite number as null, which is no number any more, and
    # a record that cannot be decoded would spoil every list that it is in.
    doc = _to_json(document)
    decode(doc)
    return doc


UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What making a document, or a column, raises for a value that there is no writing of."""


def unwritable(word: str, record_id: str, error: Exception) -> StorageError:
    """Return the error for a record that cannot be stored. ``word``: ``job``, or the kind of resource."""
    return StorageError(
        f"{word.capitalize()} {record_id} cannot be stored, since a part of it cannot be written: {error}. "
        f"Correct what was sent."
    )


@contextmanager
def decoding(word: str, record_id: str) -> Generator[None]:
    """Turn what decoding raises (msgspec's errors, an unknown state) into a :class:`StorageError` that names the record."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{word.capitalize()} {record_id} cannot be read back: {error}. "
            f"Delete the {word}, or restore the database from a backup."
        ) from error


def check_identity(word: str, before: Record, after: Record) -> None:
    """Raise a :class:`StorageError` if a change made another record of it."""
    if type(before) is not type(after) or _identity(before) != _identity(after):
        raise StorageError(
            f"{word.capitalize()} {before.id}: a change must keep kind, id, tenant, owner and creation time."
        )


def _identity(record: Record) -> tuple[object, ...]:
    return record.id, record.tenant, record.owner, record.created_at
