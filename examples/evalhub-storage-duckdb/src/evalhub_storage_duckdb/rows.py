"""Records as rows of one table: JSON documents beside the columns that lists filter and sort by.

Filters are lists of texts by name, so that one condition serves all of them, those on tags and labels included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from evalhub_server.plugins import (
    RECORD_TYPES,
    UNWRITABLE,
    AnyResource,
    CollectionRecord,
    JobRecord,
    Terms,
    decoding,
    encode,
    resource_labels,
    unwritable,
)

AnyRecord = JobRecord | AnyResource

JOB = "job"
DECODERS: dict[str, msgspec.json.Decoder[AnyRecord]] = {
    JOB: msgspec.json.Decoder(JobRecord),
    **{kind.value: msgspec.json.Decoder(type_) for kind, type_ in RECORD_TYPES.items()},
}

TABLE = """
CREATE TABLE IF NOT EXISTS records (
    kind VARCHAR, id VARCHAR, tenant VARCHAR, owner VARCHAR, name VARCHAR,
    created_at TIMESTAMPTZ, updated_at TIMESTAMPTZ,
    is_open BOOLEAN, pinned BOOLEAN, duration DOUBLE, score DOUBLE,
    curation_order BIGINT, pinned_order BIGINT,
    terms MAP(VARCHAR, VARCHAR[]),
    document BLOB,
    PRIMARY KEY (kind, id)
)
"""
INSERT = f"INSERT INTO records VALUES ({', '.join('?' * 15)})"  # noqa: S608  no values
REPLACE = INSERT.replace("INSERT", "INSERT OR REPLACE")
DELETE = "DELETE FROM records WHERE kind = ? AND id = ?"
GET = "SELECT document FROM records WHERE kind = ? AND id = ?"

Conditions = list[tuple[str, Sequence[Any]]]
"""SQL and its parameters; records must meet all of them."""


def is_system(record: AnyRecord) -> bool:
    return not isinstance(record, JobRecord) and record.system


def decode(kind: str, record_id: str, document: bytes) -> AnyRecord:
    with decoding(kind, record_id):
        return DECODERS[kind].decode(document)


def row_of(kind: str, record: AnyRecord) -> tuple[Any, ...]:
    """The values of all columns. Raises :class:`StorageError` for a record that JSON cannot represent."""
    try:
        document = encode(record, DECODERS[kind].decode)
    except UNWRITABLE as error:
        raise unwritable(kind, record.id, error) from error
    curation_order = pinned_order = 0
    if isinstance(record, JobRecord):
        name, updated_at = record.request.name, record.progress.updated_at
        of_job = record.open, record.progress.pinned, record.duration_s, record.score
        terms = {
            **record.labels,
            "status": [record.state.value],
            "tags": record.request.tags,
            "experiment_id": [record.experiment.id if record.experiment else ""],
        }
    else:
        name, updated_at = record.config.name, record.updated_at
        of_job = None, None, None, None
        terms = {**resource_labels(record), "category": [""]}
        if isinstance(record, CollectionRecord):
            curation_order, pinned_order = record.config.curation_order, record.pinned_order
            terms["category"] = [record.config.category]
    terms |= {"name": [name], "owner": [record.owner]}
    lists = {key: list(values) for key, values in terms.items()}
    own = kind, record.id, record.tenant, record.owner, name, record.created_at, updated_at
    return *own, *of_job, curation_order, pinned_order, lists, document


def conditions_of(labels: dict[str, Terms], **fields: Terms | None) -> Conditions:
    found: Conditions = []
    for key, terms in {**labels, **fields}.items():
        if terms is not None:
            has = "list_has_all" if terms.every and not terms.negated else "list_has_any"
            sql = f"{'NOT ' if terms.negated else ''}{has}(coalesce(terms[?], []), ?::VARCHAR[])"
            found.append((sql, [key, list(terms.values)]))
    return found
