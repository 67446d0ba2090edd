"""Jobs in PostgreSQL: the documents of a job record's parts, and the SQL that reads and writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    UNWRITABLE,
    AlreadyExists,
    BenchmarkRecord,
    JobChange,
    JobDefinition,
    JobProgress,
    JobRecord,
    NotFound,
    check_identity,
    decoding,
    encode,
    replaced_indices,
    unwritable,
)
from evalhub_storage_postgres.changes import noting
from evalhub_storage_postgres.record_cache import RecordCache, Versioned
from evalhub_storage_postgres.search import label_terms, searchable, searchables

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Session

_JOB = "'job'"


def _put_benchmarks(indexes: str, documents: str) -> str:
    """SQL that writes benchmarks of the job that is ``written``."""
    return (
        "INSERT INTO evalhub_jobs_benchmarks (job_id, idx, doc)"  # noqa: S608  no value
        f" SELECT id, new.* FROM written, unnest({indexes}::integer[], {documents}::bytea[]) AS new"
        " ON CONFLICT (job_id, idx) DO UPDATE SET doc = EXCLUDED.doc"
    )


_INSERT = noting(
    """
    INSERT INTO evalhub_jobs
        (id, tenant, owner, created_at, state, experiment_id, is_open, score, duration, is_pinned, name, tags, labels,
        definition, progress)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING
    """,
    _JOB,
    also=_put_benchmarks("$16", "$17"),
)


def benchmark_documents(job_id: str) -> str:
    """SQL of the documents of a job's benchmarks, in the order of their index."""
    return f"ARRAY(SELECT doc FROM evalhub_jobs_benchmarks WHERE job_id = {job_id} ORDER BY idx)"  # noqa: S608  no value


COLUMNS = f"id, definition, progress, {benchmark_documents('evalhub_jobs.id')} AS benchmarks"
_GET = f"SELECT xmin::text, {COLUMNS} FROM evalhub_jobs WHERE id = $1"  # noqa: S608  as above
_VERSION = "SELECT xmin::text FROM evalhub_jobs WHERE id = $1"
# The row first: a statement that waits for its lock sees the benchmarks as of before the wait.
_LOCK = f"{_VERSION} FOR UPDATE"
# A large value that stays the same is not written again.
_UPDATE = noting(
    """
    UPDATE evalhub_jobs SET state = $2, experiment_id = $3, is_open = $4, score = $5, duration = $6, is_pinned = $7,
        name = coalesce($8, name), tags = coalesce($9, tags), labels = coalesce($10, labels),
        definition = coalesce($11, definition), progress = coalesce($12, progress)
    WHERE id = $1 AND xmin::text = $15
    """,
    _JOB,
    also=_put_benchmarks("$13", "$14"),
)
_CUT_BENCHMARKS = "DELETE FROM evalhub_jobs_benchmarks WHERE job_id = $1 AND idx >= $2"
_DELETE = noting(
    "DELETE FROM evalhub_jobs WHERE id = $1 AND ($2::text IS NULL OR tenant = $2)", _JOB, deleted=True
)
OPEN = f"SELECT {COLUMNS} FROM evalhub_jobs WHERE is_open ORDER BY created_at, id"  # noqa: S608  as above


_decode_definition = msgspec.json.Decoder(JobDefinition).decode
_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_benchmark = msgspec.json.Decoder(BenchmarkRecord).decode


def decode(job_id: str, definition: bytes, progress: bytes, benchmarks: Sequence[bytes]) -> JobRecord:
    """Raises :class:`StorageError` if a document does not have the structure that is written."""
    with decoding("job", job_id):
        return JobRecord(
            definition=_decode_definition(definition),
            progress=_decode_progress(progress),
            benchmarks=tuple([_decode_benchmark(document) for document in benchmarks]),
        )


def _columns(before: JobRecord | None, after: JobRecord) -> tuple[Any, ...]:
    """Return the columns from ``state`` on; None for those of parts that are the same as ``before``."""
    request, experiment = after.request, after.experiment
    redefined = before is None or before.definition is not after.definition
    return (
        after.state.value,
        searchable(experiment.id if experiment else ""),
        after.open,
        after.score,
        after.duration_s,
        after.progress.pinned,
        searchable(request.name) if redefined else None,
        searchables(request.tags) if redefined else None,
        labels_of(after) if redefined else None,
        encode(after.definition, _decode_definition) if redefined else None,
        None
        if before is not None and before.progress is after.progress
        else encode(after.progress, _decode_progress),
    )


def _values(before: JobRecord | None, after: JobRecord) -> tuple[Any, ...]:
    """Return the columns of the job, then indexes and documents of the benchmarks that differ. Raises :data:`UNWRITABLE`."""
    old: tuple[BenchmarkRecord, ...] = () if before is None else before.benchmarks
    new = after.benchmarks
    changed = () if old is new else replaced_indices(old, new)
    documents = {index: encode(new[index], _decode_benchmark) for index in changed}
    return *_columns(before, after), list(documents), list(documents.values())


def labels_of(job: JobRecord) -> list[str]:
    """Return the values of the column ``labels``."""
    return [each for label, values in job.labels.items() for each in label_terms(label, values)]


async def add(session: Session, record: JobRecord) -> Versioned:
    """Add the job by one statement; returns its entry for the cache."""
    try:
        key, tenant, owner = map(searchable, (record.id, record.tenant, record.owner))
        values = _values(None, record)
    except UNWRITABLE as error:
        raise unwritable("job", record.id, error) from error
    version = await session.fetchval(_INSERT, key, tenant, owner, record.created_at, *values)
    if version is None:
        raise AlreadyExists(f"A job {record.id} is stored already; give the new one another id.")
    return Versioned(version, record)


async def get(session: Session, job_id: str, tenant: str | None, cache: RecordCache) -> JobRecord:
    entry = await _read(session, job_id, _VERSION, cache)
    return _visible(entry.record if entry else None, job_id, tenant)


async def _read(session: Session, job_id: str, query: str, cache: RecordCache) -> Versioned | None:
    """Return the job, from the cache if the version that ``query`` returns is there."""
    version: str | None = await session.fetchval(query, searchable(job_id))
    if version is None:
        return None
    known = cache.get(job_id)
    if known is not None and known.version == version:
        return known
    row = await session.fetchrow(_GET, searchable(job_id))
    if row is None:
        return None
    newest, _, *documents = row
    entry = Versioned(newest, decode(job_id, *documents))
    cache.put(job_id, entry)
    return entry


def _visible(record: JobRecord | None, job_id: str, tenant: str | None) -> JobRecord:
    if record is None or tenant not in (None, record.tenant):
        raise NotFound(f"There is no job {job_id}.")
    return record


class Update(Struct, frozen=True, eq=False):
    """One call of :meth:`Storage.update_job`."""

    tenant: str | None
    change: JobChange


Outcome = JobRecord | Exception


async def update(
    session: Session, job_id: str, updates: Sequence[Update], cache: RecordCache
) -> tuple[list[Outcome], Versioned | None]:
    """Apply the updates one after the other and write the result once, in a transaction.

    Returns the record after each of them, or its exception; an update that raises changes nothing. The second value is the
    entry for the cache once the transaction is committed.
    """
    before = await _read(session, job_id, _LOCK, cache)
    old = before.record if before else None
    after, outcomes = _applied(old, job_id, updates)
    if before is None or old is None or after is None or after is old:
        return outcomes, None
    try:
        values = _values(old, after)
    except UNWRITABLE:
        after, outcomes = _applied(old, job_id, updates, writable_only=True)
        if after is None or after is old:
            return outcomes, None
        values = _values(old, after)
    key = searchable(job_id)
    version: str = await session.fetchval(_UPDATE, key, *values, before.version)
    if len(after.benchmarks) < len(old.benchmarks):
        await session.execute(_CUT_BENCHMARKS, key, len(after.benchmarks))
    return outcomes, Versioned(version, after)


async def update_known(
    session: Session, job_id: str, updates: Sequence[Update], cache: RecordCache
) -> tuple[list[Outcome], Versioned | None] | None:
    """Do as :func:`update` on the cached record, by one statement that does nothing if the row has another version.

    Returns None if it has, or if the job is not cached, or if one statement is not enough: use :func:`update`.
    """
    before = cache.get(job_id)
    if before is None:
        return None
    old = before.record
    after, outcomes = _applied(old, job_id, updates)
    if after is None or after is old:
        version = await session.fetchval(_VERSION, searchable(job_id))
        return (outcomes, None) if version == before.version else None
    if len(after.benchmarks) < len(old.benchmarks):
        return None
    try:
        values = _values(old, after)
    except UNWRITABLE:
        return None
    version = await session.fetchval(_UPDATE, searchable(job_id), *values, before.version)
    return None if version is None else (outcomes, Versioned(version, after))


def _applied(
    before: JobRecord | None, job_id: str, updates: Sequence[Update], *, writable_only: bool = False
) -> tuple[JobRecord | None, list[Outcome]]:
    """The record after all updates, and the outcome of each; with ``writable_only`` each result is encoded as a trial."""
    current = before
    outcomes: list[Outcome] = []
    for each in updates:
        try:
            current = _changed(_visible(current, job_id, each.tenant), each.change, encodes=writable_only)
        except Exception as error:  # noqa: BLE001  what a change raises is for its caller
            outcomes.append(error)
        else:
            outcomes.append(current)
    return current, outcomes


def _changed(record: JobRecord, change: JobChange, *, encodes: bool) -> JobRecord:
    after = change(record)
    if after is None or after is record:
        return record
    check_identity("job", record, after)
    if encodes:
        try:
            _values(record, after)
        except UNWRITABLE as error:
            raise unwritable("job", record.id, error) from error
    return after


async def delete(session: Session, job_id: str, tenant: str | None) -> None:
    owner = None if tenant is None else searchable(tenant)
    if not await session.fetchval(_DELETE, searchable(job_id), owner):
        raise NotFound(f"There is no job {job_id}.")
