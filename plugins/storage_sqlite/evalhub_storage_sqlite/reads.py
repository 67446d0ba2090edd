"""Queries by key. Every function here runs in a connection's thread, within one read transaction or as the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from evalhub_server.plugins import JobQuery
from evalhub_storage_sqlite.cache import Listing, Stored
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.documents import JobRows, decode
from evalhub_storage_sqlite.queries import ListQuery, page_bounds

_CHUNK = 500
"""Ids per query, far below SQLite's limit on parameters."""

_JOBS = (
    "SELECT j.seq, j.id, j.tenant, j.owner, j.state, j.created_at, j.head, d.doc"
    " FROM jobs j LEFT JOIN definitions d ON d.seq = j.seq WHERE j.id IN ({marks})"
)
_BENCHMARKS = "SELECT seq, doc FROM benchmarks WHERE seq IN ({marks}) ORDER BY seq, idx"


def jobs_by_id(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, JobRows]:
    """Return the rows of those jobs that there are."""
    jobs: list[Row] = []
    for chunk in _chunks(ids):
        jobs += connection.execute(_JOBS.format(marks=_marks(chunk)), chunk)
    benchmarks: dict[int, list[bytes]] = {row[0]: [] for row in jobs}
    for chunk in _chunks(list(benchmarks)):
        for seq, doc in connection.execute(_BENCHMARKS.format(marks=_marks(chunk)), chunk):
            benchmarks[seq].append(doc)
    return {
        job_id: JobRows(
            seq=seq,
            id=job_id,
            tenant=tenant,
            owner=owner,
            state=state,
            created_at=created_at,
            head=head,
            definition=definition or b"",
            benchmarks=benchmarks[seq],
        )
        for seq, job_id, tenant, owner, state, created_at, head, definition in jobs
    }


def records_by_id(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Stored]:
    """Return those jobs that there are, decoded: in the thread, so that a long page does not hold the event loop.

    Raises:
        StorageError: one of them cannot be decoded.
    """
    rows = jobs_by_id(connection, ids)
    return {job_id: Stored(seq=each.seq, record=decode(each)) for job_id, each in rows.items()}


def listing(connection: sqlite3.Connection, sql: ListQuery, query: JobQuery) -> Listing:
    """Return the ids of a page and how many jobs match."""
    (total,) = connection.execute(sql.count, sql.parameters).fetchone()
    rows = connection.execute(sql.page, (*sql.parameters, *page_bounds(query)))
    return Listing(ids=tuple([job_id for (job_id,) in rows]), total_count=total)


def open_ids(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of the jobs that are open, oldest first."""
    return [
        job_id
        for (job_id,) in connection.execute(
            "SELECT id FROM jobs INDEXED BY jobs_open WHERE is_open = 1 ORDER BY created_at, id"
        )
    ]


def last_seq(connection: sqlite3.Connection) -> int:
    """Return the highest key that a job has, 0 if there is no job."""
    (seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM jobs").fetchone()
    return seq


def _chunks(values: Sequence[str] | Sequence[int]) -> Iterable[Sequence[str] | Sequence[int]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
