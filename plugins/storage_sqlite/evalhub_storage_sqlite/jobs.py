"""Jobs in SQLite: the documents of a job record's parts, and the SQL that reads and writes them.

What an update has to write is found by ``is``: records are frozen and share what did not change.
"""

from __future__ import annotations

import operator
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    BenchmarkRecord,
    JobDefinition,
    JobProgress,
    JobRecord,
    StorageError,
    check_identity,
    decoding,
    encode,
    replaced_indices,
)
from evalhub_storage_sqlite.columns import check_columns, microseconds
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.record_mapper import RecordMapper, Rows, Transaction
from evalhub_storage_sqlite.select import select_in

_SELECT = (
    "SELECT j.seq, j.id, j.tenant, j.owner, j.created_at, j.progress, d.doc"
    " FROM jobs j LEFT JOIN definitions d ON d.seq = j.seq WHERE j.id IN ({placeholders})"
)
_SELECT_BENCHMARKS = "SELECT seq, doc FROM benchmarks WHERE seq IN ({placeholders}) ORDER BY seq, idx"
_DELETE_JOB = "DELETE FROM jobs WHERE seq = ?"  # deletes its rows in other tables, too
_COLUMNS = ("state", "experiment_id", "is_open", "score", "duration", "is_pinned")
"""The columns that lists filter or sort by and that an update may change."""
_INSERT_JOB = (
    f"INSERT INTO jobs ({', '.join(_COLUMNS)}, progress,"  # noqa: S608 - our names
    " id, tenant, owner, created_at, name, seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_COLUMN = {  # one by one: SQLite writes each index of a column that an update sets, even to the same value
    column: f"UPDATE jobs SET {column} = ? WHERE seq = ?"  # noqa: S608 - our names
    for column in _COLUMNS
}
_UPDATE_PROGRESS = "UPDATE jobs SET progress = ? WHERE seq = ?"
_UPDATE_NAME = "UPDATE jobs SET name = ? WHERE seq = ?"
_PUT_DEFINITION = "INSERT OR REPLACE INTO definitions (doc, seq) VALUES (?, ?)"
_CUT_BENCHMARKS = "DELETE FROM benchmarks WHERE idx >= ? AND seq = ?"
_PUT_BENCHMARK = "INSERT OR REPLACE INTO benchmarks (idx, doc, seq) VALUES (?, ?, ?)"
_DELETE_LABELS = "DELETE FROM job_labels WHERE seq = ?"
_INSERT_LABEL = "INSERT INTO job_labels (label, value, created_at, id, tenant, seq) VALUES (?, ?, ?, ?, ?, ?)"


_decode_progress = msgspec.json.Decoder(JobProgress).decode
_decode_definition = msgspec.json.Decoder(JobDefinition).decode
_decode_benchmark = msgspec.json.Decoder(BenchmarkRecord).decode


Value = str | float | bool | None
"""The value of a column."""


class JobRows(Rows[JobRecord], kw_only=True, frozen=True):
    """``benchmarks`` are in the order of their index."""

    progress: bytes
    definition: bytes
    benchmarks: list[bytes]

    @property
    def size_bytes(self) -> int:
        return len(self.progress) + len(self.definition) + sum(map(len, self.benchmarks))

    def decode(self) -> JobRecord:
        with decoding("job", self.id):
            return JobRecord(
                definition=_decode_definition(self.definition),
                progress=_decode_progress(self.progress),
                benchmarks=tuple([_decode_benchmark(doc) for doc in self.benchmarks]),
            )


class Changes(Struct, kw_only=True):
    """The rows of one job that an update writes, encoded; None and missing indices stay as they are.

    ``columns`` are values of :data:`_COLUMNS`, by name. ``size`` is set if there are fewer benchmarks than before:
    rows from that index on are deleted.
    """

    columns: dict[str, Value] = msgspec.field(default_factory=dict[str, Value])
    progress: bytes | None = None
    definition: bytes | None = None
    benchmarks: dict[int, bytes] = msgspec.field(default_factory=dict[int, bytes])
    size: int | None = None

    @property
    def size_bytes(self) -> int:
        return (
            len(self.progress or b"") + len(self.definition or b"") + sum(map(len, self.benchmarks.values()))
        )

    def add(self, later: Changes) -> None:
        """Add the rows that a later update of the same job writes."""
        self.columns.update(later.columns)
        self.progress = later.progress or self.progress
        self.definition = later.definition or self.definition
        if later.size is not None:
            self.size = later.size
            self.benchmarks = {i: doc for i, doc in self.benchmarks.items() if i < later.size}
        self.benchmarks.update(later.benchmarks)


class JobMapper(RecordMapper[JobRecord, Changes]):
    """Maps job records to rows of ``jobs``, ``definitions``, ``benchmarks`` and ``job_labels``."""

    kind = "job"
    # Deletions come first, since a job may be deleted and added again in one batch; a job comes before the rows that
    # refer to it.
    statements = (
        _DELETE_JOB,
        _INSERT_JOB,
        *_UPDATE_COLUMN.values(),
        _UPDATE_PROGRESS,
        _UPDATE_NAME,
        _PUT_DEFINITION,
        _CUT_BENCHMARKS,
        _PUT_BENCHMARK,
        _DELETE_LABELS,
        _INSERT_LABEL,
    )

    def weight(self, record: JobRecord) -> int:
        return len(record.benchmarks)

    def finished(self, record: JobRecord) -> bool:
        return record.state.terminal

    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows[JobRecord]]:
        jobs = select_in(connection, _SELECT, ids)
        benchmarks: dict[int, list[bytes]] = {row[0]: [] for row in jobs}
        for seq, doc in select_in(connection, _SELECT_BENCHMARKS, list(benchmarks)):
            benchmarks[seq].append(doc)
        return {
            job_id: JobRows(
                seq=seq,
                id=job_id,
                tenant=tenant,
                owner=owner,
                created_at=created_at,
                progress=progress,
                definition=definition or b"",
                benchmarks=benchmarks[seq],
            )
            for seq, job_id, tenant, owner, created_at, progress, definition in jobs
        }

    def _changes(self, before: JobRecord | None, after: JobRecord) -> Changes:
        found = Changes()
        if before is None:
            check_columns(_identity(after))
            found.columns = dict(zip(_COLUMNS, _values(after), strict=True))
        elif not _stays_running(before, after):
            same = _has_same_duration(before, after)
            values = _values(after, with_duration=not same)
            changed = map(operator.ne, values, _values(before, with_duration=not same))
            found.columns = dict(compress(zip(_COLUMNS, values, strict=True), changed))
        if before is None or before.progress is not after.progress:
            found.progress = encode(after.progress, _decode_progress)
        if before is None or before.definition is not after.definition:
            if before is not None:
                check_identity(self.kind, before, after)
            found.definition = encode(after.definition, _decode_definition)
        old: tuple[Any, ...] = () if before is None else before.benchmarks
        new = after.benchmarks
        if old is not new:
            for index in replaced_indices(old, new):
                found.benchmarks[index] = encode(new[index], _decode_benchmark)
            if len(new) < len(old):
                found.size = len(new)
        return found

    def insert(self, transaction: Transaction, seq: int, record: JobRecord, changes: Changes) -> None:
        if changes.progress is None or changes.definition is None:
            raise ValueError(f"job {record.id} is new, and some of its rows are missing")
        transaction.changed_lists.add(self.kind)
        columns = [changes.columns[name] for name in _COLUMNS]
        row = (*columns, changes.progress, *_identity(record), record.request.name, seq)
        transaction.add(_INSERT_JOB, row)
        transaction.add(_PUT_DEFINITION, (changes.definition, seq))
        _insert_benchmarks(transaction, seq, changes)
        transaction.add(_INSERT_LABEL, *_labels(seq, record))

    def update(self, transaction: Transaction, seq: int, record: JobRecord, changes: Changes) -> None:
        for column, value in changes.columns.items():
            transaction.changed_lists.add(self.kind)
            transaction.add(_UPDATE_COLUMN[column], (value, seq))
        if changes.progress is not None:
            transaction.add(_UPDATE_PROGRESS, (changes.progress, seq))
        if changes.definition is not None:
            transaction.changed_lists.add(self.kind)
            transaction.add(_UPDATE_NAME, (record.request.name, seq))
            transaction.add(_PUT_DEFINITION, (changes.definition, seq))
            transaction.add(_DELETE_LABELS, (seq,))
            transaction.add(_INSERT_LABEL, *_labels(seq, record))
        if changes.size is not None:
            transaction.add(_CUT_BENCHMARKS, (changes.size, seq))
        _insert_benchmarks(transaction, seq, changes)

    def delete(self, transaction: Transaction, seq: int) -> None:
        transaction.changed_lists.add(self.kind)
        transaction.add(_DELETE_JOB, (seq,))


JOBS = JobMapper()


def _insert_benchmarks(transaction: Transaction, seq: int, changes: Changes) -> None:
    transaction.add(_PUT_BENCHMARK, *((index, doc, seq) for index, doc in changes.benchmarks.items()))


def _labels(seq: int, record: JobRecord) -> Iterator[Row]:
    """Return the rows of ``job_labels``; the job's tags are labels, too."""
    job_id, tenant, _, created_at = _identity(record)
    for label, values in {"tags": tuple(dict.fromkeys(record.request.tags)), **record.labels}.items():
        for value in values:
            yield label, value, created_at, job_id, tenant, seq


def search_rows(connection: sqlite3.Connection, seq: int) -> tuple[list[Row], Row] | None:
    """Return the labels except for tags, and (score, duration), of a stored job; None if it cannot be decoded."""
    (job_id,) = connection.execute("SELECT id FROM jobs WHERE seq = ?", (seq,)).fetchone()
    try:
        record = JOBS.read(connection, [job_id])[job_id].decode()
    except StorageError:
        return None
    return [row for row in _labels(seq, record) if row[0] != "tags"], (record.score, record.duration_s)


def _values(record: JobRecord, *, with_duration: bool = True) -> tuple[Value, ...]:
    """Return the values of :data:`_COLUMNS`, in that order. ``duration`` is in seconds, or None unless ``with_duration``."""
    experiment = record.experiment
    return (
        record.state.value,
        "" if experiment is None else experiment.id,
        record.open,
        record.score,
        record.duration_s if with_duration else None,
        record.progress.pinned,
    )


def _stays_running(before: JobRecord, after: JobRecord) -> bool:
    """Whether all of :data:`_COLUMNS` are the same because the job has not ended, which makes it open and without a duration."""
    old, new = before.progress, after.progress
    return (
        old.state is new.state
        and not new.state.terminal
        and old.test is new.test
        and old.experiments is new.experiments
        and old.pinned is new.pinned
    )


def _has_same_duration(before: JobRecord, after: JobRecord) -> bool:
    """Whether no time of a benchmark has changed, as with the exits that follow the end of a job. To compute the duration, all times are parsed."""
    old, new = before.benchmarks, after.benchmarks
    return (
        before.state is after.state
        and len(old) == len(new)
        and all(
            (a.started_at, a.completed_at) == (b.started_at, b.completed_at)
            for a, b in zip(old, new, strict=True)
            if a is not b
        )
    )


def _identity(record: JobRecord) -> Row:
    """Return the columns that never change."""
    return record.id, record.tenant, record.owner, microseconds(record.created_at)
