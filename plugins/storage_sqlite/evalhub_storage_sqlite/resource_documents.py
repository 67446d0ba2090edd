"""A provider or collection as columns and a document, and what an update has to write.

The document is the config, of a collection with what is derived for it; everything else has a column, so that a run
that is counted writes one number.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    AnyResource,
    CollectionConfig,
    CollectionRecord,
    Kind,
    ProviderConfig,
    ProviderRecord,
    decoding,
    encode,
    kind_of,
)
from evalhub_storage_sqlite.columns import check_columns, microseconds, moment
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import Rows


class ResourceRows(Rows[AnyResource], kw_only=True, frozen=True):
    kind: Kind
    updated_at: int
    derived_from: str
    pinned_order: int
    run_count: int
    doc: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.doc)

    def decode(self) -> AnyResource:
        common: dict[str, Any] = {
            "id": self.id,
            "tenant": self.tenant,
            "owner": self.owner,
            "created_at": moment(self.created_at),
            "updated_at": moment(self.updated_at),
        }
        with decoding(self.kind, self.id):
            if self.kind is Kind.PROVIDER:
                return ProviderRecord(config=_decode_provider(self.doc), **common)
            document = _decode_collection(self.doc)
            return CollectionRecord(
                config=document.config,
                derived=document.derived,
                derived_from=self.derived_from,
                pinned_order=self.pinned_order,
                run_count=self.run_count,
                **common,
            )


class CollectionDocument(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a collection has no columns for."""

    config: CollectionConfig
    derived: dict[str, tuple[str, ...]] = {}


class ResourceChanges(Struct, kw_only=True):
    """What is to be written of one resource; None stays as it is. ``listed``: what lists filter and sort by."""

    listed: Row | None = None
    others: Row | None = None
    doc: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.doc or b"")

    def add(self, later: ResourceChanges) -> None:
        self.listed = later.listed or self.listed
        self.others = later.others or self.others
        self.doc = later.doc or self.doc


_decode_provider = msgspec.json.Decoder(ProviderConfig).decode
_decode_collection = msgspec.json.Decoder(CollectionDocument).decode


def changes(before: AnyResource | None, after: AnyResource) -> ResourceChanges:
    """Encode what is different; everything if there is no ``before``. Raises what encoding raises."""
    found = ResourceChanges()
    listed, others = _listed(after), _others(after)
    if before is None:
        check_columns(identity(after))
    if before is None or listed != _listed(before):
        check_columns(listed)
        found.listed = listed
    if before is None or others != _others(before):
        check_columns(others)
        found.others = others
    if before is None or before.config is not after.config or _derived(before) != _derived(after):
        found.doc = _document(after)
    return found


def _document(record: AnyResource) -> bytes:
    if isinstance(record, ProviderRecord):
        return encode(record.config, _decode_provider)
    return encode(CollectionDocument(config=record.config, derived=record.derived), _decode_collection)


def _derived(record: AnyResource) -> object:
    return None if isinstance(record, ProviderRecord) else record.derived


def identity(record: AnyResource) -> Row:
    """Return the columns that stay as they are for as long as the resource is stored."""
    return (
        kind_of(record).value,
        record.id,
        record.tenant,
        record.owner,
        microseconds(record.created_at),
    )


def _listed(record: AnyResource) -> Row:
    updated_at = microseconds(record.updated_at)
    if isinstance(record, ProviderRecord):
        return record.config.name, "", 0, 0, updated_at
    config = record.config
    return config.name, config.category, config.curation_order, record.pinned_order, updated_at


def _others(record: AnyResource) -> Row:
    return ("", 0) if isinstance(record, ProviderRecord) else (record.derived_from, record.run_count)
