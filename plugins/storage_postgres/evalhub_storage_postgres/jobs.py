"""Jobs: their documents, and the SQL for them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    UNWRITABLE,
    AlreadyExists,
    BenchmarkRecord,
    ExportRecord,
    JobChange,
    JobDefinition,
    JobQuery,
    JobRecord,
    JobTest,
    Message,
    NotFound,
    State,
    TrackedExperiment,
    check_identity,
    decoding,
    encode,
    unwritable,
)
from evalhub_storage_postgres.faults import changed
from evalhub_storage_postgres.search import Conditions, searchable, searchables

if TYPE_CHECKING:
    from evalhub_storage_postgres.database import Session

_INSERT = """
    INSERT INTO evalhub_jobs
        (id, tenant, owner, created_at, state, experiment_id, is_open, progress, name, tags, definition)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING RETURNING true
"""
_GET = "SELECT definition, progress FROM evalhub_jobs WHERE id = $1"
_LOCK = f"{_GET} FOR UPDATE"
_UPDATE = "UPDATE evalhub_jobs SET state = $2, experiment_id = $3, is_open = $4, progress = $5 WHERE id = $1"
_REDEFINE = "UPDATE evalhub_jobs SET name = $2, tags = $3, definition = $4 WHERE id = $1"
_DELETE = "DELETE FROM evalhub_jobs WHERE id = $1 AND ($2::text IS NULL OR tenant = $2) RETURNING true"
OPEN = "SELECT id, definition, progress FROM evalhub_jobs WHERE is_open ORDER BY created_at, id"


class Progress(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Everything of a :class:`JobRecord` but its definition, by the same names."""

    id: str
    tenant: str = ""
    owner: str = ""
    created_at: datetime
    updated_at: datetime
    state: State = State.PENDING
    message: Message
    test: JobTest | None = None
    cancelled: bool = False
    experiment: TrackedExperiment | None = None
    exports: tuple[ExportRecord, ...] = ()
    benchmarks: tuple[BenchmarkRecord, ...]


_decode_definition = msgspec.json.Decoder(JobDefinition).decode
_decode_progress = msgspec.json.Decoder(Progress).decode
_PROGRESS = Progress.__struct_fields__


def decode(job_id: str, definition: bytes, progress: bytes) -> JobRecord:
    """Make the record again. Raises :class:`StorageError` if a document has not the shape that is written."""
    with decoding("job", job_id):
        made_with, rest = _decode_definition(definition), _decode_progress(progress)
    return JobRecord(
        request=made_with.request, plan=made_with.plan, **{name: getattr(rest, name) for name in _PROGRESS}
    )


def _progress(record: JobRecord) -> tuple[Any, ...]:
    """Columns and document that an event may change."""
    rest = Progress(**{name: getattr(record, name) for name in _PROGRESS})
    experiment_id = record.experiment.id if record.experiment else ""
    return record.state.value, searchable(experiment_id), record.open, encode(rest, _decode_progress)


def _definition(record: JobRecord) -> tuple[Any, ...]:
    document = JobDefinition(request=record.request, plan=record.plan)
    return (
        searchable(record.request.name),
        searchables(record.request.tags),
        encode(document, _decode_definition),
    )


async def add(session: Session, record: JobRecord) -> None:
    try:
        identity = (*map(searchable, (record.id, record.tenant, record.owner)), record.created_at)
        row = (*identity, *_progress(record), *_definition(record))
    except UNWRITABLE as error:
        raise unwritable("job", record.id, error) from error
    if not await session.fetchval(_INSERT, *row):
        raise AlreadyExists(f"A job {record.id} is stored already; give the new one another id.")


async def get(session: Session, job_id: str, tenant: str | None, *, lock: bool = False) -> JobRecord:
    row = await session.fetchrow(_LOCK if lock else _GET, searchable(job_id))
    record = decode(job_id, *row) if row is not None else None
    if record is None or tenant not in (None, record.tenant):
        raise NotFound(f"There is no job {job_id}.")
    return record


async def update(session: Session, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
    before = await get(session, job_id, tenant, lock=True)
    after = changed(change, before)
    if after is None or after is before:
        return before
    check_identity("job", before, after)
    key = searchable(job_id)
    redefined = after.request is not before.request or after.plan is not before.plan
    try:
        progress = _progress(after)
        definition = _definition(after) if redefined else ()
    except UNWRITABLE as error:
        raise unwritable("job", job_id, error) from error
    await session.execute(_UPDATE, key, *progress)
    if definition:
        await session.execute(_REDEFINE, key, *definition)
    return after


async def delete(session: Session, job_id: str, tenant: str | None) -> None:
    owner = None if tenant is None else searchable(tenant)
    if not await session.fetchval(_DELETE, searchable(job_id), owner):
        raise NotFound(f"There is no job {job_id}.")


def listing(query: JobQuery) -> tuple[str, list[Any]]:
    """Return the SQL of a list, whose rows end with id, definition and progress; see :meth:`Conditions.listing`."""
    found = Conditions()
    if query.tenant is not None:
        found.clauses.append(f"tenant = {found.mark(searchable(query.tenant))}")
    found.text("state", query.status)
    found.text("name", query.name)
    found.text("owner", query.owner)
    found.text("experiment_id", query.experiment_id)
    if query.tags is not None:
        found.array("tags", searchables(query.tags.values), query.tags)
    return found.listing("evalhub_jobs", "id, definition, progress", "created_at DESC, id DESC", query)
