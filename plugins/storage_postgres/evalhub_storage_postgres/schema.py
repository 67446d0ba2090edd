"""The tables, and the migration of databases of earlier schema versions.

To change the schema, append to :data:`MIGRATIONS`; never edit an entry that was released.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from evalhub_server.plugins import JobMigration, StartupError, StorageError
from evalhub_storage_postgres.job_counts import COUNT_JOBS

if TYPE_CHECKING:
    import asyncpg

    from evalhub_storage_postgres.control import Connection, Session

Migration = tuple["str | Callable[[Session, JobMigration], Awaitable[None]]", ...]
"""SQL statements, and functions for what SQL cannot do, that migrate one version to the next."""

# The records are JSON documents, as bytes: neither jsonb nor text keeps every number and every character. What a list
# filters or sorts by has a column beside, see ``search.py``. Columns are compared by code point (COLLATE "C").
#
# Definition and progress of a job record have a column each: PostgreSQL does not write a large value again that an UPDATE
# leaves the same.
#
# Lists of jobs are newest first, so (created_at, id) ends every index and a page is read, backwards, without sorting.
_V1: Migration = (
    """
    CREATE TABLE evalhub_jobs (
        id text COLLATE "C" PRIMARY KEY,
        tenant text COLLATE "C" NOT NULL,
        owner text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL,
        experiment_id text COLLATE "C" NOT NULL,
        tags text[] COLLATE "C" NOT NULL,
        created_at timestamptz NOT NULL,
        is_open boolean NOT NULL,
        definition bytea NOT NULL,
        progress bytea NOT NULL
    )
    """,
    "CREATE INDEX evalhub_jobs_time ON evalhub_jobs (created_at, id)",
    "CREATE INDEX evalhub_jobs_tenant ON evalhub_jobs (tenant, created_at, id)",
    "CREATE INDEX evalhub_jobs_state ON evalhub_jobs (state, created_at, id)",
    "CREATE INDEX evalhub_jobs_tenant_state ON evalhub_jobs (tenant, state, created_at, id)",
    "CREATE INDEX evalhub_jobs_name ON evalhub_jobs (name, created_at, id)",
    "CREATE INDEX evalhub_jobs_owner ON evalhub_jobs (owner, created_at, id)",
    "CREATE INDEX evalhub_jobs_experiment ON evalhub_jobs (experiment_id, created_at, id)",
    "CREATE INDEX evalhub_jobs_tags ON evalhub_jobs USING gin (tags)",
    "CREATE INDEX evalhub_jobs_open ON evalhub_jobs (created_at, id) WHERE is_open",
    """
    CREATE TABLE evalhub_resources (
        kind text COLLATE "C" NOT NULL,
        id text COLLATE "C" NOT NULL,
        tenant text COLLATE "C" NOT NULL,
        owner text COLLATE "C" NOT NULL,
        name text COLLATE "C" NOT NULL,
        category text COLLATE "C" NOT NULL,
        labels text[] COLLATE "C" NOT NULL,
        curation_order bigint NOT NULL,
        pinned_order bigint NOT NULL,
        created_at timestamptz NOT NULL,
        updated_at timestamptz NOT NULL,
        run_count bigint NOT NULL,
        doc bytea NOT NULL,
        PRIMARY KEY (kind, id)
    )
    """,
    "CREATE INDEX evalhub_resources_time ON evalhub_resources (kind, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_updated ON evalhub_resources (kind, updated_at DESC, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_tenant ON evalhub_resources (kind, tenant, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_owner ON evalhub_resources (kind, owner, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_name ON evalhub_resources (kind, name, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_category ON evalhub_resources (kind, category, created_at DESC, id)",
    "CREATE INDEX evalhub_resources_labels ON evalhub_resources USING gin (labels)",
)

_BATCH = 200
STATEMENT_TIMEOUT_S = 3600.0
"""Of a migration, which may read or write all jobs."""
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.json.Decoder(list[dict[str, msgspec.Raw]]).decode
_decode_documents = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_IDENTITY = ("id", "tenant", "owner", "created_at")


def _parts(row: asyncpg.Record, migration: JobMigration) -> tuple[bytes, bytes, bytes]:
    """Return definition, progress and benchmarks; ``progress`` had everything but the request and the plan."""
    rest = _decode(row["progress"])
    benchmarks = [migration.benchmark(each) for each in _decode_list(rest.pop("benchmarks"))]
    definition = {name: rest.pop(name) for name in _IDENTITY if name in rest} | _decode(row["definition"])
    return _encode(definition), _encode(migration.progress(rest)), _encode(benchmarks)


async def _convert_jobs(session: Session, migration: JobMigration) -> None:
    last = ""
    while rows := await session.fetch(
        "SELECT id, definition, progress FROM evalhub_jobs WHERE id > $1 ORDER BY id LIMIT $2", last, _BATCH
    ):
        last = rows[-1]["id"]
        converted: list[tuple[Any, ...]] = []
        for row in rows:
            try:
                converted.append((row["id"], *_parts(row, migration)))
            except (ValueError, KeyError):
                continue  # it was unreadable before; it must not prevent the start
        await session.executemany(
            "UPDATE evalhub_jobs SET definition = $2, progress = $3, benchmarks = $4 WHERE id = $1", converted
        )


_V2: Migration = (
    "ALTER TABLE evalhub_jobs ADD COLUMN benchmarks bytea NOT NULL DEFAULT ''",
    _convert_jobs,
    "ALTER TABLE evalhub_jobs ALTER COLUMN benchmarks DROP DEFAULT",
)


async def _label_jobs(session: Session, _: JobMigration) -> None:
    """Fill the labels and the sort keys of existing jobs."""
    from evalhub_storage_postgres.jobs import decode, labels_of

    last = ""
    while rows := await session.fetch(
        "SELECT id, definition, progress, benchmarks FROM evalhub_jobs WHERE id > $1 ORDER BY id LIMIT $2",
        last,
        _BATCH,
    ):
        last = rows[-1]["id"]
        found: list[tuple[Any, ...]] = []
        for row in rows:
            try:
                job = decode(row["id"], row["definition"], row["progress"], documents_of(row["benchmarks"]))
            except StorageError:
                continue  # it was unreadable before; it must not prevent the start
            found.append((row["id"], labels_of(job), job.score, job.duration_s))
        await session.executemany(
            "UPDATE evalhub_jobs SET labels = $2, score = $3, duration = $4 WHERE id = $1", found
        )


# ``labels`` holds the filters with several values per job, and those that most jobs have no value for. Jobs without a score or
# duration come last in either direction.
_V3: Migration = (
    """
    ALTER TABLE evalhub_jobs
        ADD COLUMN labels text[] COLLATE "C" NOT NULL DEFAULT '{}',
        ADD COLUMN score double precision,
        ADD COLUMN duration double precision,
        ADD COLUMN is_pinned boolean NOT NULL DEFAULT false
    """,
    _label_jobs,
    "CREATE INDEX evalhub_jobs_labels ON evalhub_jobs USING gin (labels)",
    "CREATE INDEX evalhub_jobs_score ON evalhub_jobs (score DESC NULLS LAST, created_at DESC, id DESC)",
    "CREATE INDEX evalhub_jobs_score_up ON evalhub_jobs (score, created_at, id)",
    "CREATE INDEX evalhub_jobs_duration ON evalhub_jobs (duration DESC NULLS LAST, created_at DESC, id DESC)",
    "CREATE INDEX evalhub_jobs_duration_up ON evalhub_jobs (duration, created_at, id)",
    "CREATE INDEX evalhub_jobs_pinned ON evalhub_jobs (created_at, id) WHERE is_pinned",
)


def documents_of(benchmarks: bytes) -> list[bytes]:
    """The documents in the column ``benchmarks`` of the versions 2 and 3; one that is unreadable stays so."""
    try:
        return [bytes(each) for each in _decode_documents(benchmarks)]
    except ValueError:
        return [benchmarks]


async def _split_benchmarks(session: Session, _: JobMigration) -> None:
    last = ""
    while rows := await session.fetch(
        "SELECT id, benchmarks FROM evalhub_jobs WHERE id > $1 ORDER BY id LIMIT $2", last, _BATCH
    ):
        last = rows[-1]["id"]
        records = [
            (row["id"], index, document)
            for row in rows
            for index, document in enumerate(documents_of(row["benchmarks"]))
        ]
        await session.copy_records_to_table(
            "evalhub_jobs_benchmarks", records=records, columns=["job_id", "idx", "doc"]
        )


# A row for each benchmark, so that an event writes one of them. The table's name makes backups contain it after the jobs.
_V4: Migration = (
    """
    CREATE TABLE evalhub_jobs_benchmarks (
        job_id text COLLATE "C" NOT NULL REFERENCES evalhub_jobs (id) ON DELETE CASCADE,
        idx integer NOT NULL,
        doc bytea NOT NULL,
        PRIMARY KEY (job_id, idx)
    )
    """,
    _split_benchmarks,
    "ALTER TABLE evalhub_jobs DROP COLUMN benchmarks",
)

# Several servers: the lease of the leader, and the changes that they read from each other. ``evalhub.server`` is a setting of
# each session. Records that are changed by hand cause no entry, and running servers notice at their next read.
_V5: Migration = (
    "ALTER TABLE evalhub_schema ADD COLUMN compatible_since integer",
    """
    CREATE TABLE evalhub_lease (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        epoch bigint NOT NULL,
        holder text NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    "INSERT INTO evalhub_lease (epoch, holder, expires_at) VALUES (0, '', '-infinity')",
    """
    CREATE TABLE evalhub_changes (
        xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
        sequence bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        noted_at timestamptz NOT NULL DEFAULT now(),
        kind text NOT NULL,
        id text NOT NULL,
        tenant text NOT NULL,
        deleted boolean NOT NULL,
        writer text DEFAULT current_setting('evalhub.server', true)
    )
    """,
    "CREATE INDEX evalhub_changes_xid ON evalhub_changes (xid)",
)


async def _note_job_counts(session: Session, _: JobMigration) -> None:
    """Create the function of the triggers. It names the schema, since a session that changes jobs by hand may have another one."""
    schema = await session.fetchval("SELECT quote_ident(current_schema())")
    insert = f"INSERT INTO {schema}.evalhub_job_count_changes (tenant, state, tags, labels, jobs) VALUES"
    old, new = (f"({row}.tenant, {row}.state, {row}.tags, {row}.labels" for row in ("OLD", "NEW"))
    await session.execute(f"""
        CREATE FUNCTION evalhub_note_job_count() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            CASE TG_OP
                WHEN 'INSERT' THEN {insert} {new}, 1);
                WHEN 'UPDATE' THEN {insert} {old}, -1), {new}, 1);
                ELSE {insert} {old}, -1);
            END CASE;
            RETURN NULL;
        END $$
    """)


# The numbers of jobs by tenant, state and term, for the totals of lists: a count of an index takes longer the more jobs there are.
# Transactions that updated the same number would wait for each other, so each only adds rows to ``evalhub_job_count_changes``, which
# ``job_counts.FOLD_COUNTS`` moves into the numbers from time to time. Triggers add them, so that servers of earlier versions do it, too.
_V6: Migration = (
    """
    CREATE TABLE evalhub_job_counts (
        term text COLLATE "C" NOT NULL,
        tenant text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL,
        jobs bigint NOT NULL,
        PRIMARY KEY (term, tenant, state)
    )
    """,
    "CREATE INDEX evalhub_job_counts_unused ON evalhub_job_counts (term) WHERE jobs = 0",
    """
    CREATE TABLE evalhub_job_count_changes (
        tenant text COLLATE "C" NOT NULL,
        state text COLLATE "C" NOT NULL,
        tags text[] COLLATE "C" NOT NULL,
        labels text[] COLLATE "C" NOT NULL,
        jobs integer NOT NULL
    )
    """,
    _note_job_counts,
    """
    CREATE TRIGGER evalhub_jobs_added AFTER INSERT OR DELETE ON evalhub_jobs
    FOR EACH ROW EXECUTE FUNCTION evalhub_note_job_count()
    """,
    """
    CREATE TRIGGER evalhub_jobs_changed AFTER UPDATE ON evalhub_jobs FOR EACH ROW
    WHEN ((OLD.tenant, OLD.state, OLD.tags, OLD.labels) IS DISTINCT FROM (NEW.tenant, NEW.state, NEW.tags, NEW.labels))
    EXECUTE FUNCTION evalhub_note_job_count()
    """,
    COUNT_JOBS,
)

MIGRATIONS: tuple[Migration, ...] = (_V1, _V2, _V3, _V4, _V5, _V6)
"""Entry ``n`` migrates version ``n`` to version ``n + 1``; the table ``evalhub_schema`` has the version of a database.

A migration that only adds what earlier servers can ignore runs beside them, so that a rolling update has no failed request: leave
:data:`COMPATIBLE_SINCE` as it is. What they still use is removed one release later.
"""

OLDEST_SERVER = 13
"""The major version of PostgreSQL that has ``xid8``."""

COMPATIBLE_SINCE = 5
"""Servers that know this schema version, or a later one, can use a database of the newest version. Migrations from an
earlier one exclude all other servers."""

_STORED = """
    SELECT version, (to_jsonb(evalhub_schema) ->> 'compatible_since')::integer AS compatible_since
    FROM evalhub_schema ORDER BY version DESC LIMIT 1
"""


async def excludes_others(connection: Connection) -> bool:
    """Whether the migration of this database is not possible beside servers of the version that it has."""
    if await connection.fetchval("SELECT to_regclass('evalhub_schema')") is None:
        return False
    stored = await connection.fetchrow(_STORED)
    return stored is not None and stored["version"] < COMPATIBLE_SINCE


async def usable_version(connection: Connection | Session, database: str, known: int | None = None) -> int:
    """Return the version of the schema, 0 if there is none.

    Raises:
        StartupError: it is newer than ``known``, by default the newest, and servers that know that version cannot use it; or
            the database server is too old.
    """
    server = connection.get_server_version()
    if server.major < OLDEST_SERVER:
        raise StartupError(
            f"The database {database} is on PostgreSQL {server.major}.{server.minor}; PostgreSQL {OLDEST_SERVER} or later is needed."
        )
    if known is None:
        known = len(MIGRATIONS)
    if await connection.fetchval("SELECT to_regclass('evalhub_schema')") is None:
        return 0
    stored = await connection.fetchrow(_STORED)
    version: int = stored["version"] if stored is not None else 0
    compatible_since: int | None = stored["compatible_since"] if stored is not None else None
    if version > known and (compatible_since is None or compatible_since > known):
        raise StartupError(
            f"The database {database} has schema version {version}; this server knows versions up to "
            f"{known}. Start the newer server that wrote it, or name another database."
        )
    return version


async def migrate(
    session: Session,
    database: str,
    migration: JobMigration,
    migrations: Sequence[Migration] | None = None,
) -> None:
    """Migrate the schema to the current version. ``session`` is in a transaction, with the lock on the database held.

    Raises:
        StartupError: the database is of a newer version that this server cannot use.
    """
    # Checked first, since CREATE needs a privilege even if the table exists.
    if await session.fetchval("SELECT to_regclass('evalhub_schema')") is None:
        await session.execute("CREATE TABLE evalhub_schema (version integer NOT NULL)")
    migrations = MIGRATIONS if migrations is None else migrations
    version = await usable_version(session, database, len(migrations))
    for number, statements in enumerate(migrations[version:], start=version + 1):
        for statement in statements:
            if isinstance(statement, str):
                await session.execute(statement, timeout=STATEMENT_TIMEOUT_S)
            else:
                await statement(session, migration)
        await session.execute("INSERT INTO evalhub_schema (version) VALUES ($1)", number)
    if len(migrations) > version and len(migrations) >= COMPATIBLE_SINCE:
        await session.execute(
            "UPDATE evalhub_schema SET compatible_since = $1 WHERE version = $2",
            COMPATIBLE_SINCE,
            len(migrations),
        )
