"""Helpers for storages: records as JSON documents, and errors for records that cannot be written or read."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

import msgspec
from msgspec import Struct

from evalhub_server.errors import StorageError
from evalhub_server.plugins.descriptors import PluginContext


class Record(Protocol):
    """The fields that identify a job, provider or collection and never change."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def created_at(self) -> datetime: ...


_to_json = msgspec.json.Encoder().encode


def encode(document: object, decode: Callable[[bytes], object]) -> bytes:
    """Return the document as JSON that ``decode`` accepts. Raises :data:`UNWRITABLE` if that is impossible."""
    # Decoded as a check: msgspec writes an infinite number as null, which is not a number, and a record that cannot
    # be decoded would break every list that contains it.
    doc = _to_json(document)
    decode(doc)
    return doc


UNWRITABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""Exceptions of encoding a document or a column value that cannot be represented."""


def unwritable(kind: str, record_id: str, error: Exception) -> StorageError:
    """Return the error for a record that cannot be stored. ``kind``: ``job``, or the kind of resource."""
    return StorageError(
        f"{kind.capitalize()} {record_id} cannot be stored, since a part of it cannot be written: {error}. "
        f"Correct what was sent."
    )


@contextmanager
def decoding(kind: str, record_id: str) -> Generator[None]:
    """Convert decoding errors to a :class:`StorageError` that names the record."""
    try:
        yield
    except ValueError as error:
        raise StorageError(
            f"{kind.capitalize()} {record_id} cannot be read back: {error}. "
            f"Delete the {kind}, or restore the database from a backup."
        ) from error


def check_identity(kind: str, before: Record, after: Record) -> None:
    """Raise a :class:`StorageError` if a change altered a field that identifies the record."""
    if type(before) is not type(after) or _identity(before) != _identity(after):
        raise StorageError(
            f"{kind.capitalize()} {before.id}: a change must keep kind, id, tenant, owner and creation time."
        )


def _identity(record: Record) -> tuple[object, ...]:
    return record.id, record.tenant, record.owner, record.created_at


class JobMigration(Struct, kw_only=True, frozen=True):
    """Conversion of the JSON of jobs that earlier versions stored, for the migrations of storages.

    ``runtime`` and ``tracker`` are the names of the selected plugins: they own the handles and experiments that were
    stored without a name. JSON objects are passed with unparsed values, so that these are written back exactly.
    """

    runtime: str = ""
    tracker: str = ""

    @classmethod
    def of(cls, context: PluginContext) -> JobMigration:
        return cls(runtime=context.runtime, tracker=next(iter(context.trackers), ""))

    def progress(self, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """Return the fields of a :class:`JobProgress` from those with the earlier names."""
        progress = {name: raw for name, raw in fields.items() if name not in ("experiment", "exports")}
        tracker = self.tracker or _EARLIER_TRACKER
        if "exports" in fields:
            entries = _decode_list(fields["exports"])
            progress["outbox"] = _raw(
                [
                    {"requested" if name == "asked" else name: raw for name, raw in entry.items()}
                    for entry in entries
                ]
            )
            of_trackers = (entry["name"] for entry in entries if entry["kind"] == b'"tracker"')
            tracker = next((msgspec.json.decode(name, type=str) for name in of_trackers), tracker)
        if "experiment" in fields:
            progress["experiments"] = _raw({tracker: fields["experiment"]})
        return progress

    def benchmark(self, fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
        """Return the fields of a :class:`BenchmarkRecord` from those without ``runtime``."""
        return {**fields, "runtime": _raw(self.runtime)} if "launched_at" in fields else fields


_EARLIER_TRACKER = "mlflow"
"""The only tracker of servers that stored experiments without a tracker's name."""

_decode_list = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_to_json(value))
