"""Providers and collections as the writer writes them and as keys read them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from evalhub_server.plugins import SYSTEM_OWNER, AnyResource, Kind, resource_labels
from evalhub_storage_sqlite.record_mapper import Family, Rows, Transaction
from evalhub_storage_sqlite.resource_documents import ResourceChanges, ResourceRows, changes, identity
from evalhub_storage_sqlite.select import select_in

_SELECT = (
    "SELECT seq, id, tenant, owner, created_at, updated_at, derived_from, pinned_order, run_count, doc"
    " FROM resources WHERE kind = '{kind}' AND id IN ({{marks}})"
)
_DELETE = "DELETE FROM resources WHERE seq = ?"  # its labels go with it
_INSERT = (
    "INSERT INTO resources (name, category, curation_order, pinned_order, updated_at, derived_from, run_count,"
    " doc, kind, id, tenant, owner, created_at, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_LISTED = (
    "UPDATE resources SET name = ?, category = ?, curation_order = ?, pinned_order = ?, updated_at = ?"
    " WHERE seq = ?"
)
_UPDATE_OTHERS = "UPDATE resources SET derived_from = ?, run_count = ? WHERE seq = ?"
_UPDATE_DOC = "UPDATE resources SET doc = ? WHERE seq = ?"
_DELETE_LABELS = "DELETE FROM resource_labels WHERE seq = ?"
_INSERT_LABEL = "INSERT INTO resource_labels (label, value, seq) VALUES (?, ?, ?)"


class ResourceFamily(Family[AnyResource, ResourceChanges]):
    statements = (
        _DELETE,
        _INSERT,
        _UPDATE_LISTED,
        _UPDATE_OTHERS,
        _UPDATE_DOC,
        _DELETE_LABELS,
        _INSERT_LABEL,
    )

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.word = kind.value
        self._select = _SELECT.format(kind=kind.value)

    def visible(self, record: AnyResource | Rows[AnyResource], tenant: str | None) -> bool:
        return tenant in (None, record.tenant) or record.owner == SYSTEM_OWNER

    def deletable(self, record: AnyResource | Rows[AnyResource], tenant: str | None) -> bool:
        return tenant in (None, record.tenant) and record.owner != SYSTEM_OWNER

    def weight(self, record: AnyResource) -> int:
        return len(record.config.benchmarks)

    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows[AnyResource]]:
        return {
            resource_id: ResourceRows(
                seq=seq,
                id=resource_id,
                tenant=tenant,
                owner=owner,
                created_at=created_at,
                kind=self._kind,
                updated_at=updated_at,
                derived_from=derived_from,
                pinned_order=pinned_order,
                run_count=run_count,
                doc=doc,
            )
            for (
                seq,
                resource_id,
                tenant,
                owner,
                created_at,
                updated_at,
                derived_from,
                pinned_order,
                run_count,
                doc,
            ) in select_in(connection, self._select, ids)
        }

    def _changes(self, before: AnyResource | None, after: AnyResource) -> ResourceChanges:
        return changes(before, after)

    def insert(
        self, transaction: Transaction, seq: int, record: AnyResource, changes: ResourceChanges
    ) -> None:
        if changes.listed is None or changes.others is None or changes.doc is None:
            raise ValueError(f"{self.word} {record.id} is new, and some of its columns are missing")
        transaction.relists.add(self.word)
        transaction.add(_INSERT, (*changes.listed, *changes.others, changes.doc, *identity(record), seq))
        _put_labels(transaction, seq, record)

    def update(
        self, transaction: Transaction, seq: int, record: AnyResource, changes: ResourceChanges
    ) -> None:
        if changes.listed is not None:
            transaction.relists.add(self.word)
            transaction.add(_UPDATE_LISTED, (*changes.listed, seq))
        if changes.others is not None:
            transaction.add(_UPDATE_OTHERS, (*changes.others, seq))
        if changes.doc is not None:
            transaction.relists.add(self.word)
            transaction.add(_UPDATE_DOC, (changes.doc, seq))
            transaction.add(_DELETE_LABELS, (seq,))
            _put_labels(transaction, seq, record)

    def delete(self, transaction: Transaction, seq: int) -> None:
        transaction.relists.add(self.word)
        transaction.add(_DELETE, (seq,))


RESOURCES = {kind: ResourceFamily(kind) for kind in Kind}


def _put_labels(transaction: Transaction, seq: int, record: AnyResource) -> None:
    for label, values in resource_labels(record).items():
        transaction.add(_INSERT_LABEL, *((label, value, seq) for value in dict.fromkeys(values)))
