"""Jobs as the writer writes them and as keys read them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from evalhub_server.plugins import JobRecord
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.job_documents import Changes, Columns, JobRows, changes, identity
from evalhub_storage_sqlite.record_mapper import Family, Rows, Transaction
from evalhub_storage_sqlite.select import select_in

_SELECT = (
    "SELECT j.seq, j.id, j.tenant, j.owner, j.created_at, j.progress, d.doc"
    " FROM jobs j LEFT JOIN definitions d ON d.seq = j.seq WHERE j.id IN ({marks})"
)
_SELECT_BENCHMARKS = "SELECT seq, doc FROM benchmarks WHERE seq IN ({marks}) ORDER BY seq, idx"
_DELETE_JOB = "DELETE FROM jobs WHERE seq = ?"  # its rows in other tables go with it
_INSERT_JOB = (
    "INSERT INTO jobs (state, experiment_id, is_open, progress, id, tenant, owner, created_at, name, seq)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_COLUMNS = "UPDATE jobs SET state = ?, experiment_id = ?, is_open = ? WHERE seq = ?"
_UPDATE_PROGRESS = "UPDATE jobs SET progress = ? WHERE seq = ?"
_UPDATE_NAME = "UPDATE jobs SET name = ? WHERE seq = ?"
_PUT_DEFINITION = "INSERT OR REPLACE INTO definitions (doc, seq) VALUES (?, ?)"
_CUT_BENCHMARKS = "DELETE FROM benchmarks WHERE idx >= ? AND seq = ?"
_PUT_BENCHMARK = "INSERT OR REPLACE INTO benchmarks (idx, doc, seq) VALUES (?, ?, ?)"
_DELETE_TAGS = "DELETE FROM job_tags WHERE seq = ?"
_INSERT_TAG = "INSERT INTO job_tags (tag, created_at, id, tenant, seq) VALUES (?, ?, ?, ?, ?)"


class JobFamily(Family[JobRecord, Changes]):
    word = "job"
    # What goes makes room for what comes (a job may be deleted and added again in one batch), and a job is there before
    # the rows that refer to it.
    statements = (
        _DELETE_JOB,
        _INSERT_JOB,
        _UPDATE_COLUMNS,
        _UPDATE_PROGRESS,
        _UPDATE_NAME,
        _PUT_DEFINITION,
        _CUT_BENCHMARKS,
        _PUT_BENCHMARK,
        _DELETE_TAGS,
        _INSERT_TAG,
    )

    def weight(self, record: JobRecord) -> int:
        return len(record.benchmarks)

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
        return changes(before, after)

    def insert(self, transaction: Transaction, seq: int, record: JobRecord, changes: Changes) -> None:
        columns = changes.columns
        if columns is None or changes.progress is None or changes.definition is None:
            raise ValueError(f"job {record.id} is new, and some of its rows are missing")
        transaction.relists.add(self.word)
        row = (*_values(columns), changes.progress, *identity(record), record.request.name, seq)
        transaction.add(_INSERT_JOB, row)
        transaction.add(_PUT_DEFINITION, (changes.definition, seq))
        _put_benchmarks(transaction, seq, changes)
        _put_tags(transaction, seq, record)

    def update(self, transaction: Transaction, seq: int, record: JobRecord, changes: Changes) -> None:
        if changes.columns is not None:
            transaction.relists.add(self.word)
            transaction.add(_UPDATE_COLUMNS, (*_values(changes.columns), seq))
        if changes.progress is not None:
            transaction.add(_UPDATE_PROGRESS, (changes.progress, seq))
        if changes.definition is not None:
            transaction.relists.add(self.word)
            transaction.add(_UPDATE_NAME, (record.request.name, seq))
            transaction.add(_PUT_DEFINITION, (changes.definition, seq))
            transaction.add(_DELETE_TAGS, (seq,))
            _put_tags(transaction, seq, record)
        if changes.size is not None:
            transaction.add(_CUT_BENCHMARKS, (changes.size, seq))
        _put_benchmarks(transaction, seq, changes)

    def delete(self, transaction: Transaction, seq: int) -> None:
        transaction.relists.add(self.word)
        transaction.add(_DELETE_JOB, (seq,))


JOBS = JobFamily()


def _put_benchmarks(transaction: Transaction, seq: int, changes: Changes) -> None:
    transaction.add(_PUT_BENCHMARK, *((index, doc, seq) for index, doc in changes.benchmarks.items()))


def _put_tags(transaction: Transaction, seq: int, record: JobRecord) -> None:
    job_id, tenant, _, created_at = identity(record)
    tags = dict.fromkeys(record.request.tags)
    transaction.add(_INSERT_TAG, *((tag, created_at, job_id, tenant, seq) for tag in tags))


def _values(columns: Columns) -> Row:
    return columns.state, columns.experiment_id, columns.is_open
