"""SQL that writes jobs, gathered into one transaction."""

from __future__ import annotations

from evalhub_server.domain.record import JobRecord
from evalhub_storage_sqlite.connection import Row
from evalhub_storage_sqlite.documents import Changes, Columns, microseconds

_DELETE_JOB = "DELETE FROM jobs WHERE seq = ?"  # its rows in other tables go with it
_INSERT_JOB = (
    "INSERT INTO jobs (state, experiment_id, is_open, head, id, tenant, owner, name, created_at, seq)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_COLUMNS = "UPDATE jobs SET state = ?, experiment_id = ?, is_open = ? WHERE seq = ?"
_UPDATE_HEAD = "UPDATE jobs SET head = ? WHERE seq = ?"
_UPDATE_NAME = "UPDATE jobs SET name = ? WHERE seq = ?"
_PUT_DEFINITION = "INSERT OR REPLACE INTO definitions (doc, seq) VALUES (?, ?)"
_CUT_BENCHMARKS = "DELETE FROM benchmarks WHERE idx >= ? AND seq = ?"
_PUT_BENCHMARK = "INSERT OR REPLACE INTO benchmarks (idx, doc, seq) VALUES (?, ?, ?)"
_DELETE_TAGS = "DELETE FROM job_tags WHERE seq = ?"
_INSERT_TAG = "INSERT INTO job_tags (tag, created_at, id, tenant, seq) VALUES (?, ?, ?, ?, ?)"

# What goes makes room for what comes (a job may be deleted and added again in one batch), and a job is there before
# the rows that refer to it.
_ORDER = (
    _DELETE_JOB,
    _INSERT_JOB,
    _UPDATE_COLUMNS,
    _UPDATE_HEAD,
    _UPDATE_NAME,
    _PUT_DEFINITION,
    _CUT_BENCHMARKS,
    _PUT_BENCHMARK,
    _DELETE_TAGS,
    _INSERT_TAG,
)


class Transaction:
    """The rows that a batch writes, by statement: each statement is one call, however many jobs it is for.

    At most one of ``delete``, ``insert`` and ``update`` is called for a ``seq``.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[Row]] = {sql: [] for sql in _ORDER}
        self.relists = False
        """Does any of it change what lists filter or sort by?"""

    def statements(self) -> list[tuple[str, list[Row]]]:
        """Return what there is to execute, in order. Empty: nothing."""
        return [(sql, rows) for sql, rows in self._rows.items() if rows]

    def delete(self, seq: int) -> None:
        self.relists = True
        self._rows[_DELETE_JOB].append((seq,))

    def insert(self, seq: int, record: JobRecord, rows: Changes) -> None:
        """Store a new job. ``rows`` are all of its rows, as :func:`changes` without a ``before`` gives them."""
        self.relists = True
        columns = rows.columns
        if columns is None or rows.head is None or rows.definition is None:
            raise ValueError(f"job {record.id} is new, and some of its rows are missing")
        identity = (
            record.id,
            record.tenant,
            record.owner,
            record.request.name,
            microseconds(record.created_at),
        )
        self._rows[_INSERT_JOB].append((*_values(columns), rows.head, *identity, seq))
        self._rows[_PUT_DEFINITION].append((rows.definition, seq))
        self._put_benchmarks(seq, rows)
        self._put_tags(seq, record)

    def update(self, seq: int, record: JobRecord, rows: Changes) -> None:
        """Write ``rows`` over those of a job that is stored."""
        if rows.columns is not None:
            self.relists = True
            self._rows[_UPDATE_COLUMNS].append((*_values(rows.columns), seq))
        if rows.head is not None:
            self._rows[_UPDATE_HEAD].append((rows.head, seq))
        if rows.definition is not None:
            self.relists = True
            self._rows[_UPDATE_NAME].append((record.request.name, seq))
            self._rows[_PUT_DEFINITION].append((rows.definition, seq))
            self._rows[_DELETE_TAGS].append((seq,))
            self._put_tags(seq, record)
        if rows.size is not None:
            self._rows[_CUT_BENCHMARKS].append((rows.size, seq))
        self._put_benchmarks(seq, rows)

    def _put_benchmarks(self, seq: int, rows: Changes) -> None:
        self._rows[_PUT_BENCHMARK].extend((index, doc, seq) for index, doc in rows.benchmarks.items())

    def _put_tags(self, seq: int, record: JobRecord) -> None:
        created_at = microseconds(record.created_at)
        self._rows[_INSERT_TAG].extend(
            (tag, created_at, record.id, record.tenant, seq) for tag in dict.fromkeys(record.request.tags)
        )


def _values(columns: Columns) -> Row:
    return columns.state, columns.experiment_id, columns.is_open
