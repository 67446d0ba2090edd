"""Plugin registration; SQLite itself is imported when the storage is created."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_server.plugins import Descriptor, JobMigration, PluginContext, hookimpl
from evalhub_storage_sqlite.settings import DatabaseSettings, locate

if TYPE_CHECKING:
    from evalhub_storage_sqlite.storage import SqliteStorage


def make_storage(settings: DatabaseSettings, context: PluginContext) -> SqliteStorage:
    """Create the configured storage, not yet open. Raises :class:`SettingsError` for a bad url."""
    from evalhub_storage_sqlite.storage import SqliteStorage  # here, since it imports aiosqlite and sqlite3

    path = locate(settings.url, context.data_dir)
    return SqliteStorage(path, migration=JobMigration.of(context), shared=context.shared)


@hookimpl
def evalhub_storages() -> list[Descriptor[SqliteStorage, DatabaseSettings]]:
    return [
        Descriptor(
            api=1,
            name="sqlite",
            factory=make_storage,
            settings=DatabaseSettings,
            section="database",
            help="an SQLite database, in memory or in a file",
        )
    ]
