"""Providers and collections in PostgreSQL: their documents, and the SQL that reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from evalhub_server.plugins import (
    RECORD_TYPES,
    RESOURCE_ORDERS,
    SYSTEM_OWNER,
    UNWRITABLE,
    AlreadyExists,
    AnyResource,
    CollectionRecord,
    Kind,
    NotFound,
    ResourceChange,
    ResourceQuery,
    StorageError,
    check_identity,
    decoding,
    encode,
    kind_of,
    merge_system_resource,
    resource_labels,
    unwritable,
)
from evalhub_storage_postgres.changes import noting
from evalhub_storage_postgres.faults import apply_change
from evalhub_storage_postgres.search import Conditions, label_terms, searchable

if TYPE_CHECKING:
    import asyncpg

    from evalhub_storage_postgres.control import Session

_INSERT = noting(
    """
    INSERT INTO evalhub_resources
        (kind, id, run_count, updated_at, tenant, owner, created_at, name, category, labels, curation_order,
         pinned_order, doc)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING
    """,
    "kind",
)
_GET = "SELECT id, run_count, doc FROM evalhub_resources WHERE kind = $1 AND id = $2"
_LOCK = f"{_GET} FOR UPDATE"
_SYSTEM = "SELECT kind, created_at, id, run_count, doc FROM evalhub_resources WHERE owner = $1 FOR UPDATE"
_COUNT_RUN = noting("UPDATE evalhub_resources SET run_count = $3 WHERE kind = $1 AND id = $2", "kind")
_UPDATE = noting(
    """
    UPDATE evalhub_resources SET run_count = $3, updated_at = $4, tenant = $5, owner = $6, created_at = $7,
        name = $8, category = $9, labels = $10, curation_order = $11, pinned_order = $12, doc = $13
    WHERE kind = $1 AND id = $2
    """,
    "kind",
)
_DELETE = noting(
    """
    DELETE FROM evalhub_resources
    WHERE kind = $1 AND id = $2 AND owner <> $3 AND ($4::text IS NULL OR tenant = $4)
    """,
    "kind",
    deleted=True,
)
_DROP = noting("DELETE FROM evalhub_resources WHERE kind = $1 AND id = $2", "kind", deleted=True)

_decoders = {kind: msgspec.json.Decoder(type_).decode for kind, type_ in RECORD_TYPES.items()}


def decode(kind: Kind, resource_id: str, run_count: int, doc: bytes) -> AnyResource:
    """Raises :class:`StorageError` if the document does not have the structure that is written."""
    with decoding(kind, resource_id):
        record = _decoders[kind](doc)
    return _with_runs(record, run_count)


def _with_runs(record: AnyResource, run_count: int) -> AnyResource:
    if not isinstance(record, CollectionRecord) or record.run_count == run_count:
        return record
    return msgspec.structs.replace(record, run_count=run_count)


def _runs(record: AnyResource) -> int:
    return record.run_count if isinstance(record, CollectionRecord) else 0


def _row(record: AnyResource) -> tuple[Any, ...]:
    kind = kind_of(record)
    collection = record if isinstance(record, CollectionRecord) else None
    try:
        return (
            kind.value,
            searchable(record.id),
            _runs(record),
            record.updated_at,
            searchable(record.tenant),
            searchable(record.owner),
            record.created_at,
            searchable(record.config.name),
            searchable(collection.config.category if collection else ""),
            [
                each
                for label, values in resource_labels(record).items()
                for each in label_terms(label, values)
            ],
            collection.config.curation_order if collection else 0,
            collection.pinned_order if collection else 0,
            # Runs are counted in the column, so that a count does not write the document.
            encode(_with_runs(record, 0), _decoders[kind]),
        )
    except UNWRITABLE as error:
        raise unwritable(kind, record.id, error) from error


async def add(session: Session, record: AnyResource) -> None:
    if not await session.fetchval(_INSERT, *_row(record)):
        raise AlreadyExists(
            f"A {kind_of(record)} {record.id} is stored already; give the new one another id."
        )


async def get(
    session: Session, kind: Kind, resource_id: str, tenant: str | None, *, lock: bool = False
) -> AnyResource:
    row = await session.fetchrow(_LOCK if lock else _GET, kind.value, searchable(resource_id))
    record = decode(kind, resource_id, row["run_count"], row["doc"]) if row is not None else None
    if record is None or not (record.system or tenant in (None, record.tenant)):
        raise NotFound(f"There is no {kind} {resource_id}.")
    return record


async def update(
    session: Session, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
) -> AnyResource:
    before = await get(session, kind, resource_id, tenant, lock=True)
    after = apply_change(change, before)
    if after is None or after is before:
        return before
    check_identity(kind, before, after)
    if _with_runs(after, _runs(before)) == before:
        await session.execute(_COUNT_RUN, kind.value, searchable(resource_id), _runs(after))
    else:
        await session.execute(_UPDATE, *_row(after))
    return after


async def delete(session: Session, kind: Kind, resource_id: str, tenant: str | None) -> None:
    owner = None if tenant is None else searchable(tenant)
    if not await session.fetchval(_DELETE, kind.value, searchable(resource_id), SYSTEM_OWNER, owner):
        raise NotFound(f"There is no {kind} {resource_id} that can be deleted.")


async def replace_system(session: Session, records: Sequence[AnyResource]) -> None:
    wanted = {(kind_of(record).value, searchable(record.id)): record for record in records}
    stored = {(row["kind"], row["id"]): row for row in await session.fetch(_SYSTEM, SYSTEM_OWNER)}
    await session.executemany(_DROP, [key for key in stored if key not in wanted])
    updated: list[tuple[Any, ...]] = []
    for key, row in stored.items():
        if key in wanted and (after := _merged(row, wanted[key])) is not None:
            updated.append(_row(after))
    await session.executemany(_UPDATE, updated)
    # The insert does nothing if a tenant's resource has the id.
    await session.executemany(_INSERT, [_row(record) for key, record in wanted.items() if key not in stored])


def _merged(row: asyncpg.Record, record: AnyResource) -> AnyResource | None:
    """Return the new version of the stored record; None if it is unchanged."""
    try:
        before = decode(kind_of(record), record.id, row["run_count"], row["doc"])
    except StorageError:
        # Written by a version with another structure of configurations: keep what has a column, replace the rest.
        return _with_runs(msgspec.structs.replace(record, created_at=row["created_at"]), row["run_count"])
    after = merge_system_resource(before, record)
    return None if after is before else after


def listing(query: ResourceQuery) -> tuple[str, list[Any]]:
    """Return the SQL of a list, whose rows end with id, run_count and doc; see :meth:`Conditions.listing`."""
    found = Conditions()
    found.clauses.append(f"kind = {found.parameter(query.kind.value)}")
    system = f"owner = '{SYSTEM_OWNER}'"
    if query.system is not None:
        found.clauses.append(system if query.system else f"NOT {system}")
    if query.tenant is not None and not query.system:
        found.clauses.append(f"(tenant = {found.parameter(searchable(query.tenant))} OR {system})")
    found.text("name", query.name)
    found.text("owner", query.owner)
    found.text("category", query.category)
    for label, terms in query.labels.items():
        found.array("labels", label_terms(label, terms.values), terms)
    return found.listing(
        "evalhub_resources", "id, run_count, doc", RESOURCE_ORDERS[query.sort, query.descending], query
    )
