"""The tables, and the migration of databases of earlier schema versions.

To change the schema, append to :data:`MIGRATIONS`; never edit an entry that was released.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from evalhub_server.plugins import JobMigration, StartupError
from evalhub_storage_sqlite.columns import moment

APPLICATION_ID = 0x45564842
"""``EVHB`` in the file's header identifies the file as ours."""

Migration = tuple[str | Callable[[sqlite3.Connection, JobMigration], None], ...]
"""SQL statements, and functions for what SQL cannot do, that migrate one version to the next."""

# What a list filters or sorts by has a column; the rest are JSON documents that only this package reads. The
# definition has a table of its own, since SQLite writes a row whole: beside ``progress`` it would make every event of a job with
# hundreds of benchmarks rewrite the plan of all of them.
#
# Lists are newest first, so (created_at, id) ends every index and a page is read without sorting. Where ``tenant`` comes
# last, it makes the index cover the filter. ``job_tags`` repeats what an index on its jobs would hold.
_V1: Migration = (
    """
    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        experiment_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        is_open INTEGER NOT NULL,
        head BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE definitions (
        seq INTEGER PRIMARY KEY REFERENCES jobs (seq) ON DELETE CASCADE,
        doc BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE benchmarks (
        seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        idx INTEGER NOT NULL,
        doc BLOB NOT NULL,
        PRIMARY KEY (seq, idx)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE job_tags (
        tag TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        PRIMARY KEY (tag, created_at, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX job_tags_seq ON job_tags (seq)",
    "CREATE INDEX jobs_time ON jobs (created_at, id)",
    "CREATE INDEX jobs_tenant_time ON jobs (tenant, created_at, id)",
    "CREATE INDEX jobs_state ON jobs (state, created_at, id)",
    "CREATE INDEX jobs_tenant_state ON jobs (tenant, state, created_at, id)",
    "CREATE INDEX jobs_name ON jobs (name, created_at, id)",
    "CREATE INDEX jobs_tenant_name ON jobs (tenant, name, created_at, id)",
    "CREATE INDEX jobs_owner ON jobs (owner, created_at, id, tenant)",
    "CREATE INDEX jobs_experiment ON jobs (experiment_id, created_at, id, tenant)",
    "CREATE INDEX jobs_open ON jobs (created_at, id) WHERE is_open = 1",
    f"PRAGMA application_id = {APPLICATION_ID}",
)

# Providers and collections. Every index begins with ``kind``, is in the order in which lists break ties, and ends with
# tenant and owner. Curated resources come first, so the order has "not curated" before the place.
_V2: Migration = (
    """
    CREATE TABLE resources (
        seq INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        category TEXT NOT NULL,
        curation_order INTEGER NOT NULL,
        pinned_order INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        derived_from TEXT NOT NULL,
        run_count INTEGER NOT NULL,
        doc BLOB NOT NULL,
        UNIQUE (kind, id)
    )
    """,
    """
    CREATE TABLE resource_labels (
        label TEXT NOT NULL,
        value TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES resources (seq) ON DELETE CASCADE,
        PRIMARY KEY (label, value, seq)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX resource_labels_seq ON resource_labels (seq)",
    "CREATE INDEX resources_tenant ON resources (kind, tenant, created_at DESC, id, owner)",
    "CREATE INDEX resources_owner ON resources (kind, owner, created_at DESC, id, tenant)",
    "CREATE INDEX resources_category ON resources (kind, category, created_at DESC, id, tenant, owner)",
    "CREATE INDEX resources_name ON resources (kind, name, created_at DESC, id, tenant, owner)",
    "CREATE INDEX resources_created_at ON resources (kind, created_at DESC, id, tenant, owner)",
    "CREATE INDEX resources_updated_at ON resources (kind, updated_at DESC, created_at DESC, id, tenant, owner)",
    """
    CREATE INDEX resources_curation_order ON resources (
        kind, curation_order = 0, curation_order, pinned_order = 0, pinned_order, created_at DESC, id, tenant, owner
    )
    """,
)


def _convert_jobs(connection: sqlite3.Connection, migration: JobMigration) -> None:
    """Convert documents to the parts of a job record.

    ``progress`` had no state and earlier field names; a definition had only the request and the plan.
    """

    def progress(doc: bytes, state: str) -> dict[str, msgspec.Raw]:
        return migration.progress(_decode(doc) | {"state": _raw(state)})

    def definition(doc: bytes, *identity: str | int) -> dict[str, msgspec.Raw]:
        job_id, tenant, owner, created_at = identity
        columns = {"id": job_id, "tenant": tenant, "owner": owner, "created_at": moment(int(created_at))}
        return {name: _raw(value) for name, value in columns.items()} | _decode(doc)

    def benchmark(doc: bytes) -> dict[str, msgspec.Raw]:
        return migration.benchmark(_decode(doc))

    for convert, arguments in ((progress, 2), (definition, 5), (benchmark, 1)):
        connection.create_function(f"as_{convert.__name__}", arguments, partial(_converted, convert))
    connection.execute("UPDATE jobs SET progress = as_progress(progress, state)")
    connection.execute(
        "UPDATE definitions SET doc = (SELECT as_definition(definitions.doc, id, tenant, owner, created_at)"
        " FROM jobs WHERE jobs.seq = definitions.seq)"
    )
    connection.execute("UPDATE benchmarks SET doc = as_benchmark(doc)")


_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _converted(convert: Callable[..., dict[str, msgspec.Raw]], doc: bytes, *columns: object) -> bytes:
    try:
        return _encode(convert(doc, *columns))
    except ValueError:
        return doc  # it was unreadable before; it must not prevent the start


def _convert_resources(connection: sqlite3.Connection, _: JobMigration) -> None:
    """Convert documents to whole records; they were a provider's configuration or a part of a collection."""

    def resource(doc: bytes, kind: str, *columns: str | int) -> dict[str, msgspec.Raw]:
        names = ("id", "tenant", "owner", "created_at", "updated_at", "derived_from", "pinned_order")
        values = dict(zip(names, columns, strict=True))
        values |= {name: moment(int(values[name])) for name in ("created_at", "updated_at")}
        if kind == "provider":
            del values["derived_from"], values["pinned_order"]
            return {name: _raw(value) for name, value in values.items()} | {"config": msgspec.Raw(doc)}
        return {name: _raw(value) for name, value in values.items()} | _decode(doc)

    connection.create_function("as_resource", 9, partial(_converted, resource))
    connection.execute(
        "UPDATE resources SET doc ="
        " as_resource(doc, kind, id, tenant, owner, created_at, updated_at, derived_from, pinned_order)"
    )


_V3: Migration = (
    "ALTER TABLE jobs RENAME COLUMN head TO progress",
    _convert_jobs,
    _convert_resources,
)


def _label_jobs(connection: sqlite3.Connection, _: JobMigration) -> None:
    """Fill the labels and the sort keys of existing jobs."""
    from evalhub_storage_sqlite.jobs import search_rows  # which imports this package's schema of columns

    seqs = [seq for (seq,) in connection.execute("SELECT seq FROM jobs")]
    for seq in seqs:
        rows = search_rows(connection, seq)
        if rows is None:
            continue  # it was unreadable before; it must not prevent the start
        labels, sort_keys = rows
        connection.executemany(
            "INSERT INTO job_labels (label, value, created_at, id, tenant, seq) VALUES (?, ?, ?, ?, ?, ?)",
            labels,
        )
        connection.execute("UPDATE jobs SET score = ?, duration = ? WHERE seq = ?", (*sort_keys, seq))


# Filters with several values per job, and those that most jobs have no value for. ``job_labels`` repeats what an index on
# its jobs would hold. Jobs without a score or duration come last: NULL is the least value, so each needs an index
# with a greatest value for the ascending order.
_V4: Migration = (
    """
    CREATE TABLE job_labels (
        label TEXT NOT NULL,
        value TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        id TEXT NOT NULL,
        seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
        tenant TEXT NOT NULL,
        PRIMARY KEY (label, value, created_at, id)
    ) WITHOUT ROWID
    """,
    "INSERT INTO job_labels SELECT 'tags', tag, created_at, id, seq, tenant FROM job_tags",
    "DROP TABLE job_tags",
    "CREATE INDEX job_labels_seq ON job_labels (seq)",
    "ALTER TABLE jobs ADD COLUMN score REAL",
    "ALTER TABLE jobs ADD COLUMN duration REAL",
    "ALTER TABLE jobs ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0",
    _label_jobs,
    "CREATE INDEX jobs_score ON jobs (score, created_at, id, tenant)",
    "CREATE INDEX jobs_score_up ON jobs (coalesce(score, 9e999), created_at, id, tenant)",
    "CREATE INDEX jobs_duration ON jobs (duration, created_at, id, tenant)",
    "CREATE INDEX jobs_duration_up ON jobs (coalesce(duration, 9e999), created_at, id, tenant)",
    "CREATE INDEX jobs_pinned ON jobs (created_at, id, tenant) WHERE is_pinned = 1",
)

# The numbers of jobs by tenant and state, which triggers keep: a count of an index takes longer the more jobs there are. Numbers
# stay at 0 when the last job is gone.
_ADD = """
    INSERT INTO job_counts (tenant, state, jobs) VALUES (new.tenant, new.state, 1)
        ON CONFLICT (tenant, state) DO UPDATE SET jobs = jobs + 1;
"""
_SUBTRACT = "UPDATE job_counts SET jobs = jobs - 1 WHERE tenant = old.tenant AND state = old.state;"
_V5: Migration = (
    """
    CREATE TABLE job_counts (
        tenant TEXT NOT NULL,
        state TEXT NOT NULL,
        jobs INTEGER NOT NULL,
        PRIMARY KEY (tenant, state)
    ) WITHOUT ROWID
    """,
    "INSERT INTO job_counts SELECT tenant, state, count(*) FROM jobs GROUP BY tenant, state",
    f"CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN {_ADD} END",
    f"CREATE TRIGGER jobs_deleted AFTER DELETE ON jobs BEGIN {_SUBTRACT} END",
    f"""
    CREATE TRIGGER jobs_changed AFTER UPDATE OF state ON jobs WHEN old.state <> new.state
    BEGIN {_SUBTRACT} {_ADD} END
    """,
)

# The same by tenant and label, for lists by model, benchmark, collection or tag. Without the state: a job has several labels, and
# each of its changes of state would write them all.
_V6: Migration = (
    """
    CREATE TABLE job_label_counts (
        label TEXT NOT NULL,
        value TEXT NOT NULL,
        tenant TEXT NOT NULL,
        jobs INTEGER NOT NULL,
        PRIMARY KEY (label, value, tenant)
    ) WITHOUT ROWID
    """,
    "INSERT INTO job_label_counts SELECT label, value, tenant, count(*) FROM job_labels GROUP BY label, value, tenant",
    """
    CREATE TRIGGER job_labels_added AFTER INSERT ON job_labels
    BEGIN
        INSERT INTO job_label_counts (label, value, tenant, jobs) VALUES (new.label, new.value, new.tenant, 1)
            ON CONFLICT (label, value, tenant) DO UPDATE SET jobs = jobs + 1;
    END
    """,
    # Many values occur in one job only, so numbers do not stay at 0.
    """
    CREATE TRIGGER job_labels_deleted AFTER DELETE ON job_labels
    BEGIN
        UPDATE job_label_counts SET jobs = jobs - 1
            WHERE label = old.label AND value = old.value AND tenant = old.tenant;
        DELETE FROM job_label_counts
            WHERE label = old.label AND value = old.value AND tenant = old.tenant AND jobs = 0;
    END
    """,
)

# Fewer indices, since each is a page more in the commit that creates a job or ends it. NULLS LAST reads jobs without a score or
# duration last in both directions, from one index. Most servers have no tenants, owners or experiments; empty values are not indexed.
_V7: Migration = (
    "DROP INDEX jobs_score_up",
    "DROP INDEX jobs_duration_up",
    *(
        statement
        for name, column, columns in (
            ("jobs_tenant_time", "tenant", "tenant, created_at, id"),
            ("jobs_tenant_state", "tenant", "tenant, state, created_at, id"),
            ("jobs_tenant_name", "tenant", "tenant, name, created_at, id"),
            ("jobs_owner", "owner", "owner, created_at, id, tenant"),
            ("jobs_experiment", "experiment_id", "experiment_id, created_at, id, tenant"),
        )
        for statement in (
            f"DROP INDEX {name}",
            f"CREATE INDEX {name} ON jobs ({columns}) WHERE {column} <> ''",
        )
    ),
)

MIGRATIONS: tuple[Migration, ...] = (_V1, _V2, _V3, _V4, _V5, _V6, _V7)
"""Entry ``n`` migrates version ``n`` to version ``n + 1``; ``PRAGMA user_version`` is the version of a database."""


def migrate(
    connection: sqlite3.Connection,
    path: Path | None,
    migrations: Sequence[Migration] = MIGRATIONS,
    migration: JobMigration | None = None,
) -> None:
    """Migrate the schema to the current version, each step in its own transaction.

    Raises:
        StartupError: the database is of a newer version, or of another program.
        sqlite3.Error: a step failed; the database is as it was before that step.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (version or tables):
        raise StartupError(
            f"The database {path} belongs to another program (a released Go server's cannot be taken over). "
            f"Give database.url or --data-dir another path, or move the file away."
        )
    if version > len(migrations):
        raise StartupError(
            f"The database {path} has schema version {version}; this server knows versions up to "
            f"{len(migrations)}. Start the newer server that wrote it, or name another database."
        )
    for number, statements in enumerate(migrations[version:], start=version + 1):
        _step(connection, number, statements, migration or JobMigration())


def _step(
    connection: sqlite3.Connection, version: int, statements: Migration, migration: JobMigration
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            if isinstance(statement, str):
                connection.execute(statement)
            else:
                statement(connection, migration)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
