"""Many stored jobs within seconds: SQL multiplies those of a database, SQLite's or PostgreSQL's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg

from evalhub_storage_postgres.job_counts import COUNT_JOBS

OWN = {
    "jobs": "seq, id, tenant, owner, name, state, experiment_id, created_at, is_open, progress, score, duration, is_pinned",
    "definitions": "seq, doc",
    "benchmarks": "seq, idx, doc",
    "job_labels": "label, value, created_at, id, seq, tenant",
}
"""The tables of jobs of this server and their columns."""
RELEASED = {"evaluations": "id, created_at, updated_at, tenant_id, owner, status, experiment_id, entity"}
_COPY_OF_ID = "substr(id, 1, 24) || printf('%012x', n) || substr(id, 25)"


def multiply(path: Path, templates: int, jobs: int) -> None:
    """Copy the jobs of a database until there are ``jobs``. No server may have it open.

    Copies have other ids and times, and the documents of their templates: a list shows those, which takes as long as others would.
    """
    copies = jobs // templates - 1
    if copies <= 0:
        return
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (mode,) = database.execute("PRAGMA journal_mode").fetchone()
        for setting in (
            "journal_mode = OFF",
            "synchronous = OFF",
            "temp_store = FILE",
            "cache_size = -200000",
        ):
            database.execute(f"PRAGMA {setting}")
        # Indexes are built at the end: that is several times faster than updating them.
        indexes = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
        ).fetchall()
        for name, _sql in indexes:
            database.execute(f"DROP INDEX {name}")
        database.execute("CREATE TEMP TABLE copies (n INTEGER PRIMARY KEY)")
        database.executemany("INSERT INTO copies VALUES (?)", ((n,) for n in range(1, copies + 1)))
        names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "evaluations" in names:
            _copy(database, "evaluations", RELEASED["evaluations"], {"id": _COPY_OF_ID}, "", "")
        else:
            changed = {
                "seq": f"seq + n * {templates}",
                "id": _COPY_OF_ID,
                "created_at": f"created_at + n * {templates} * 1000000",
            }
            for table, columns in OWN.items():
                # The key of the table, so that it is filled from left to right.
                order = "label, value, created_at, id" if table == "job_labels" else "seq"
                _copy(database, table, columns, changed, f"WHERE seq <= {templates}", order)
        for _name, sql in indexes:
            database.execute(sql)
        database.execute(f"PRAGMA journal_mode = {mode}")


def _copy(
    database: sqlite3.Connection, table: str, columns: str, changed: dict[str, str], where: str, order: str
) -> None:
    values = ", ".join(changed.get(column, column) for column in columns.split(", "))
    sort = ", ".join(changed.get(column, column) for column in order.split(", "))
    database.execute(
        f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} CROSS JOIN copies"  # noqa: S608 - names of this file
        f" {where}{f' ORDER BY {sort}' if order else ''}"
    )


async def multiply_postgres(url: str, templates: int, jobs: int) -> None:
    """Like :func:`multiply`, in PostgreSQL."""
    copies = jobs // templates - 1
    if copies <= 0:
        return
    copied = "substr({0}, 1, 24) || lpad(to_hex(n), 12, '0') || substr({0}, 25)"
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET maintenance_work_mem = '512MB'")
        await connection.execute(
            "SET session_replication_role = replica"
        )  # no keys are checked, no jobs counted
        indexes = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'evalhub_jobs' AND indexname NOT LIKE '%_pkey'"
        )
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        for table, changed in (
            (
                "evalhub_jobs",
                {
                    "id": copied.format("id"),
                    "created_at": f"created_at + n * interval '{templates} seconds'",
                },
            ),
            ("evalhub_jobs_benchmarks", {"job_id": copied.format("job_id")}),
        ):
            columns = [
                row["column_name"]
                for row in await connection.fetch(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = $1", table
                )
            ]
            values = ", ".join(changed.get(column, column) for column in columns)
            await connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, generate_series(1, {copies}) n"  # noqa: S608 - names of this file
            )
        for index in indexes:
            await connection.execute(index["indexdef"])
        await connection.execute("TRUNCATE evalhub_job_counts, evalhub_job_count_changes")
        await connection.execute(COUNT_JOBS)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()
