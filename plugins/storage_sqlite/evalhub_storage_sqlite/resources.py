"""Providers and collections in SQLite: their documents and columns, and the SQL that reads and writes them.

The document is the record. Beside it are columns that lists filter and sort by, and ``run_count``, so that counting a
run writes one number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    RECORD_TYPES,
    SYSTEM_OWNER,
    AnyResource,
    BaselineRecord,
    CollectionRecord,
    Kind,
    check_identity,
    decoding,
    encode,
    kind_of,
    resource_labels,
)
from evalhub_storage_sqlite.columns import check_columns, microseconds
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import RecordMapper, Rows, Transaction
from evalhub_storage_sqlite.select import select_in

_SELECT = (
    "SELECT seq, id, tenant, owner, created_at, run_count, doc FROM resources"
    " WHERE kind = '{kind}' AND id IN ({{placeholders}})"
)
_DELETE = "DELETE FROM resources WHERE seq = ?"  # deletes its labels, too
_INSERT = (
    "INSERT INTO resources (name, category, curation_order, pinned_order, updated_at, derived_from, doc, run_count,"
    " kind, id, tenant, owner, created_at, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE resources SET name = ?, category = ?, curation_order = ?, pinned_order = ?, updated_at = ?,"
    " derived_from = ?, doc = ? WHERE seq = ?"
)
_UPDATE_RUN_COUNT = "UPDATE resources SET run_count = ? WHERE seq = ?"
_DELETE_LABELS = "DELETE FROM resource_labels WHERE seq = ?"
_INSERT_LABEL = "INSERT INTO resource_labels (label, value, seq) VALUES (?, ?, ?)"

_decoders = {kind: msgspec.json.Decoder(type_).decode for kind, type_ in RECORD_TYPES.items()}


class ResourceRows(Rows[AnyResource], kw_only=True, frozen=True):
    kind: Kind
    run_count: int
    doc: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.doc)

    def decode(self) -> AnyResource:
        with decoding(self.kind, self.id):
            return _with_run_count(_decoders[self.kind](self.doc), self.run_count)


class ResourceChanges(Struct, kw_only=True):
    """What an update writes of a resource; None stays as it is. ``row``: the columns of ``_UPDATE`` and the document."""

    row: Row | None = None
    run_count: int | None = None
    size_bytes: int = 0

    def add(self, later: ResourceChanges) -> None:
        if later.row is not None:
            self.row, self.size_bytes = later.row, later.size_bytes
        if later.run_count is not None:
            self.run_count = later.run_count


class ResourceMapper(RecordMapper[AnyResource, ResourceChanges]):
    """Maps providers or collections to their rows."""

    statements = (_DELETE, _INSERT, _UPDATE, _UPDATE_RUN_COUNT, _DELETE_LABELS, _INSERT_LABEL)

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.kind = kind.value
        self._select = _SELECT.format(kind=kind.value)

    def visible(self, record: AnyResource | Rows[AnyResource], tenant: str | None) -> bool:
        return tenant in (None, record.tenant) or record.owner == SYSTEM_OWNER

    def deletable(self, record: AnyResource | Rows[AnyResource], tenant: str | None) -> bool:
        return tenant in (None, record.tenant) and record.owner != SYSTEM_OWNER

    def weight(self, record: AnyResource) -> int:
        return 1 if isinstance(record, BaselineRecord) else len(record.config.benchmarks)

    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows[AnyResource]]:
        return {
            resource_id: ResourceRows(
                seq=seq,
                id=resource_id,
                tenant=tenant,
                owner=owner,
                created_at=created_at,
                kind=self._kind,
                run_count=run_count,
                doc=doc,
            )
            for seq, resource_id, tenant, owner, created_at, run_count, doc in select_in(
                connection, self._select, ids
            )
        }

    def _changes(self, before: AnyResource | None, after: AnyResource) -> ResourceChanges:
        found = ResourceChanges()
        run_count = _run_count(after)
        if before is None:
            check_columns(_identity(after))
        else:
            check_identity(self.kind, before, after)
        if before is None or run_count != _run_count(before):
            check_columns((run_count,))
            found.run_count = run_count
        if before is None or before != _with_run_count(after, _run_count(before)):
            doc = encode(_with_run_count(after, 0), _decoders[self._kind])
            found.row, found.size_bytes = (*_columns(after), doc), len(doc)
            check_columns(found.row)
        return found

    def insert(
        self, transaction: Transaction, seq: int, record: AnyResource, changes: ResourceChanges
    ) -> None:
        if changes.row is None or changes.run_count is None:
            raise ValueError(f"{self.kind} {record.id} is new, and some of its columns are missing")
        transaction.changed_lists.add(self.kind)
        transaction.add(_INSERT, (*changes.row, changes.run_count, *_identity(record), seq))
        _insert_labels(transaction, seq, record)

    def update(
        self, transaction: Transaction, seq: int, record: AnyResource, changes: ResourceChanges
    ) -> None:
        if changes.run_count is not None:
            transaction.add(_UPDATE_RUN_COUNT, (changes.run_count, seq))
        if changes.row is not None:
            transaction.changed_lists.add(self.kind)
            transaction.add(_UPDATE, (*changes.row, seq))
            transaction.add(_DELETE_LABELS, (seq,))
            _insert_labels(transaction, seq, record)

    def delete(self, transaction: Transaction, seq: int) -> None:
        transaction.changed_lists.add(self.kind)
        transaction.add(_DELETE, (seq,))


RESOURCES = {kind: ResourceMapper(kind) for kind in Kind}


def _columns(record: AnyResource) -> Row:
    updated_at = microseconds(record.updated_at)
    if not isinstance(record, CollectionRecord):
        return record.config.name, "", 0, 0, updated_at, ""
    config = record.config
    order = config.curation_order, record.pinned_order
    return config.name, config.category, *order, updated_at, record.derived_from


def _identity(record: AnyResource) -> Row:
    """Return the columns that never change."""
    return kind_of(record).value, record.id, record.tenant, record.owner, microseconds(record.created_at)


def _run_count(record: AnyResource) -> int:
    return record.run_count if isinstance(record, CollectionRecord) else 0


def _with_run_count(record: AnyResource, run_count: int) -> AnyResource:
    if not isinstance(record, CollectionRecord) or record.run_count == run_count:
        return record
    return msgspec.structs.replace(record, run_count=run_count)


def _insert_labels(transaction: Transaction, seq: int, record: AnyResource) -> None:
    for label, values in resource_labels(record).items():
        transaction.add(_INSERT_LABEL, *((label, value, seq) for value in dict.fromkeys(values)))
