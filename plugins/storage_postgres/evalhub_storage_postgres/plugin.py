"""Plugin registration; asyncpg is imported when the storage is created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Descriptor, Duration, JobMigration, PluginContext, PluginError, hookimpl
from evalhub_storage_postgres.address import locate

if TYPE_CHECKING:
    from evalhub_storage_postgres.storage import PostgresStorage

DEFAULT_CONNECTIONS = 10


class DatabaseSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``database`` with the driver ``pgx`` or ``postgres``: PostgreSQL."""

    driver: Annotated[str, Meta(description="`pgx` or `postgres`.")] = "pgx"
    url: Annotated[
        str,
        Meta(
            description="URL of the database, as for libpq. `search_path` in it selects a schema.",
            examples=["postgres://user:password@db.example.org:5432/evalhub?sslmode=require"],
        ),
    ] = ""
    max_open_conns: Annotated[
        int | None,
        Meta(
            description="Maximum number of connections of a server; one more holds its lock and listens for changes. Default: 10.",
            examples=[20],
        ),
    ] = None
    max_idle_conns: Annotated[
        int | None,
        Meta(
            description="Accepted for compatibility; has no effect: a connection is closed after five minutes without use."
        ),
    ] = None
    conn_max_lifetime: Annotated[
        Duration | None,
        Meta(
            description="Maximum age of a connection; older ones are replaced. Default: no limit.",
            examples=["30m"],
        ),
    ] = None

    def __repr__(self) -> str:
        """Short, because the URL may contain a password."""
        return f"DatabaseSettings(driver={self.driver!r})"


def make_storage(settings: DatabaseSettings, context: PluginContext) -> PostgresStorage:
    """Create the configured storage, not yet open.

    Raises:
        SettingsError: the url is not that of a PostgreSQL database.
        PluginError: the extra ``postgres`` is not installed.
    """
    address = locate(settings.url)
    try:
        from evalhub_storage_postgres.database import Limits  # here, since it imports asyncpg
        from evalhub_storage_postgres.storage import PostgresStorage
    except ModuleNotFoundError as error:
        raise PluginError(
            f"PostgreSQL needs the package {error.name}: pip install 'eval-hub-server[postgres]'"
        ) from error
    most = settings.max_open_conns or 0
    return PostgresStorage(
        address,
        limits=Limits(
            max_connections=most if most > 0 else DEFAULT_CONNECTIONS,
            max_lifetime_s=settings.conn_max_lifetime or 0,
        ),
        # A runtime on this host cannot see the workloads that another server has started on another.
        shared=context.shared,
        migration=JobMigration.of(context),
    )


@hookimpl
def evalhub_storages() -> list[Descriptor[PostgresStorage, DatabaseSettings]]:
    return [
        Descriptor(
            api=1,
            name="postgres",
            factory=make_storage,
            settings=DatabaseSettings,
            section="database",
            help="a PostgreSQL database (database.driver: pgx)",
        )
    ]
