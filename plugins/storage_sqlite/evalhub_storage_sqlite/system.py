"""Replacing all that the system has, on the drafts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from evalhub_server.domain.resource import AnyResource, CollectionRecord, kind_of, renewed
from evalhub_server.errors import StorageError
from evalhub_server.models.provider import SYSTEM_OWNER
from evalhub_storage_sqlite.columns import moment
from evalhub_storage_sqlite.draft import Draft, Drafts
from evalhub_storage_sqlite.family import Rows
from evalhub_storage_sqlite.reads import Key
from evalhub_storage_sqlite.resource_documents import ResourceRows
from evalhub_storage_sqlite.resources import ResourceFamily


def by_key(records: Sequence[AnyResource]) -> dict[Key, AnyResource]:
    return {(kind_of(record).value, record.id): record for record in records}


def replace_system(drafts: Drafts, records: Mapping[Key, AnyResource], next_seq: Callable[[], int]) -> None:
    """Make ``records`` all that the system has. ``drafts`` have these, and all that the system has now.

    Raises:
        StorageError: a record cannot be written; no draft has changed.
    """
    steps: list[Callable[[], None]] = []
    for key, draft in drafts.items():
        if not isinstance(draft.family, ResourceFamily):
            continue
        if key in records:
            steps += _renewal(draft, records[key], next_seq)
        elif draft.current is not None and draft.current.owner == SYSTEM_OWNER:
            steps.append(draft.drop)
    for step in steps:
        step()


def _renewal(
    draft: Draft[AnyResource], record: AnyResource, next_seq: Callable[[], int]
) -> Sequence[Callable[[], None]]:
    before = draft.current
    if before is None:
        return [partial(draft.put, record, draft.family.changes(None, record), next_seq())]
    if before.owner != SYSTEM_OWNER:
        return []
    if isinstance(before, Rows):
        try:
            before = before.decode()
        except StorageError:
            # Written by a version whose configs had another shape: what has a column is kept, the rest is replaced.
            record = _with_columns(cast("ResourceRows", before), record)
            return [partial(draft.put, record, draft.family.changes(None, record))]
    after = renewed(before, record)
    return [] if after is before else [partial(draft.put, after, draft.family.changes(before, after))]


def _with_columns(rows: ResourceRows, record: AnyResource) -> AnyResource:
    kept: dict[str, Any] = {"created_at": moment(rows.created_at)}
    if isinstance(record, CollectionRecord):
        kept["run_count"] = rows.run_count
    return msgspec.structs.replace(record, **kept)
