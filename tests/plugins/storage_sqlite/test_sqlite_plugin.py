"""What the plugin says about itself."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from evalhub_server.plugins import PluginContext
from evalhub_storage_sqlite.plugin import evalhub_storages, make_storage
from evalhub_storage_sqlite.settings import DatabaseSettings
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.imports import loaded_by


def test_the_descriptor_names_the_storage_and_its_section() -> None:
    (descriptor,) = evalhub_storages()
    assert (descriptor.name, descriptor.settings_section) == ("sqlite", "database")
    assert descriptor.settings is DatabaseSettings
    assert descriptor.help


def test_upstream_configuration_is_accepted() -> None:
    section = {
        "driver": "sqlite",
        "url": "file::eval_hub:?mode=memory&cache=shared",
        "max_open_conns": 25,
        "max_idle_conns": 5,
        "conn_max_lifetime": "10m",
    }
    settings = msgspec.convert(section, DatabaseSettings)
    storage = make_storage(settings, PluginContext())
    assert isinstance(storage, SqliteStorage)
    assert not storage.durable
    assert "memory" in storage.description


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="pool_size"):
        msgspec.convert({"pool_size": 3}, DatabaseSettings)


def test_a_data_directory_makes_it_durable(tmp_path: Path) -> None:
    storage = make_storage(DatabaseSettings(), PluginContext(data_dir=tmp_path))
    assert storage.durable
    assert str(tmp_path / "evalhub.db") in storage.description


def test_naming_the_plugin_imports_nothing_heavy() -> None:
    loaded = loaded_by("from evalhub_storage_sqlite.plugin import evalhub_storages; evalhub_storages()")
    assert not {"sqlite3", "aiosqlite"} & loaded
