"""What the core imports to learn about this plugin; SQLite itself is imported when the storage is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from evalhub_server.plugins import Descriptor, PluginContext, hookimpl
from evalhub_storage_sqlite.url import locate

if TYPE_CHECKING:
    from evalhub_storage_sqlite.storage import SqliteStorage


class DatabaseSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The configuration section ``database``.

    ``url`` names the database: empty, ``:memory:`` or ``file::name:?mode=memory`` is memory; ``file:/path.db``,
    ``file:///path.db``, ``file:relative.db`` or a plain path is a file, made (with its directory) if missing. Options
    after a ``?`` other than ``mode`` are ignored. When the user asked for durable data (``--data-dir``), a database
    in memory becomes the file ``evalhub.db`` there.

    ``max_open_conns``, ``max_idle_conns`` and ``conn_max_lifetime`` are accepted because upstream's files have
    them. They have no effect: one connection writes and one reads.
    """

    driver: str = "sqlite"
    url: str = ""
    max_open_conns: int | None = None
    max_idle_conns: int | None = None
    conn_max_lifetime: str | int | None = None


def make_storage(settings: DatabaseSettings, context: PluginContext) -> SqliteStorage:
    """Make the storage that the settings ask for, not yet open. Raises :class:`SettingsError` for a bad url."""
    from evalhub_storage_sqlite.storage import SqliteStorage  # here, since it imports aiosqlite and sqlite3

    return SqliteStorage(locate(settings.url, context.data_dir))


@hookimpl
def evalhub_storages() -> list[Descriptor]:
    return [
        Descriptor(
            name="sqlite",
            factory=make_storage,
            settings=DatabaseSettings,
            section="database",
            help="an SQLite database, in memory or in a file",
        )
    ]
