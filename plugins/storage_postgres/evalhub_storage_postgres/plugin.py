"""What the core imports to learn about this plugin; asyncpg is imported when the storage is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from evalhub_server.plugins import Descriptor, Duration, PluginContext, PluginError, hookimpl
from evalhub_storage_postgres.address import locate

if TYPE_CHECKING:
    from evalhub_storage_postgres.storage import PostgresStorage

DEFAULT_CONNECTIONS = 10


class DatabaseSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The configuration section ``database`` where the driver is ``pgx`` (or ``postgres``).

    ``url``: as for libpq, ``postgres://user:password@host:5432/name?sslmode=require``.

    ``max_open_conns``: connections at most, 10 if it is not given or not positive; one more holds the lock on the
    database. ``conn_max_lifetime``: connections that are older are replaced. ``max_idle_conns`` has no effect: a connection
    that nobody used for five minutes is closed.
    """

    driver: str = "pgx"
    url: str = ""
    max_open_conns: int | None = None
    max_idle_conns: int | None = None
    conn_max_lifetime: Duration | None = None


def make_storage(settings: DatabaseSettings, context: PluginContext) -> PostgresStorage:
    """Make the storage that the settings ask for, not yet open.

    Raises:
        SettingsError: the url is not one of a PostgreSQL database.
        PluginError: the extra ``postgres`` is not installed.
    """
    address = locate(settings.url)
    try:
        from evalhub_storage_postgres.storage import PostgresStorage  # here, since it imports asyncpg
    except ModuleNotFoundError as error:
        raise PluginError(
            f"PostgreSQL needs the package {error.name}: pip install 'eval-hub-server[postgres]'"
        ) from error
    most = settings.max_open_conns or 0
    return PostgresStorage(
        address,
        max_connections=most if most > 0 else DEFAULT_CONNECTIONS,
        max_lifetime_s=settings.conn_max_lifetime or 0,
    )


@hookimpl
def evalhub_storages() -> list[Descriptor]:
    return [
        Descriptor(
            name="postgres",
            factory=make_storage,
            settings=DatabaseSettings,
            section="database",
            help="a PostgreSQL database (database.driver: pgx)",
        )
    ]
