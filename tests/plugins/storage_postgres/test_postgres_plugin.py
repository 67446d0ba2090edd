"""What the plugin says about itself, and which urls it takes."""

from __future__ import annotations

import sys
from urllib.parse import parse_qs, urlsplit

import pytest

from evalhub_server.errors import PluginError, SettingsError, StartupError
from evalhub_server.plugins import PluginContext, convert_section
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.plugin import DatabaseSettings, evalhub_storages, make_storage
from harness.imports import loaded_by
from harness.postgres import RunningPostgres

SECTION = {
    "driver": "pgx",
    "url": "postgres://ada:hunter22@db.example:5433/jobs?sslmode=require",
    "max_open_conns": 25,
    "max_idle_conns": 5,
    "conn_max_lifetime": "10m",
}


def test_the_descriptor_names_the_storage_and_its_section() -> None:
    (descriptor,) = evalhub_storages()
    assert (descriptor.name, descriptor.settings_section) == ("postgres", "database")
    assert descriptor.settings is DatabaseSettings
    assert descriptor.help


def test_upstream_configuration_is_accepted_and_its_password_not_shown() -> None:
    storage = make_storage(convert_section(SECTION, DatabaseSettings, "database"), PluginContext())
    assert storage.durable
    assert storage.description == "PostgreSQL database postgres://ada@db.example:5433/jobs"


async def test_servers_share_a_database_unless_their_runtime_is_on_this_host(
    postgres: RunningPostgres, schema: str
) -> None:
    settings = DatabaseSettings(url=postgres.url(schema))
    sharing = [make_storage(settings, PluginContext(shared=True)) for _ in range(2)]
    for storage in sharing:
        await storage.open()
    alone = make_storage(settings, PluginContext())
    alone._patience_s = 0
    with pytest.raises(StartupError, match="in use by another server"):
        await alone.open()
    for storage in sharing:
        await storage.close()


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="pool_size"):
        convert_section({"pool_size": 3}, DatabaseSettings, "database")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://db/jobs", "postgres://db/jobs"),
        ("postgresql://ada@db/jobs", "postgres://ada@db/jobs"),
        ("postgres://ada:pw@one:1,two:2/jobs?target_session_attrs=read-write", "postgres://ada@one:1,two:2/jobs"),
        ("postgres://ada:p%40w@[::1]:5432/jobs", "postgres://ada@[::1]:5432/jobs"),
        ("postgres:///jobs?host=/run/postgresql&user=ada&password=pw", "postgres:///run/postgresql/jobs"),
    ],
)  # fmt: skip
def test_the_forms_of_a_libpq_url(url: str, shown: str) -> None:
    assert locate(url).redacted_url == shown


def test_options_of_other_clients_do_not_reach_the_database() -> None:
    address = locate("postgres://db/jobs?connect_timeout=7&keepalives=1&sslmode=prefer&search_path=x")
    assert address.connect_timeout_s == 7
    assert parse_qs(urlsplit(address.dsn).query) == {"sslmode": ["prefer"], "search_path": ["x"]}


@pytest.mark.parametrize(
    ("url", "fragment"),
    [
        ("", "it is empty"),
        ("host=db password=hunter22", "not a URL"),
        ("file:/x?password=hunter22", "not a URL"),
        ("mysql://ada:hunter22@db/jobs", "mysql:// is not a PostgreSQL database"),
        ("postgres://ada:hunter22@[db/jobs", "cannot be read"),
        ("postgres://ada:hunter22@db/jobs?connect_timeout=soon", "connect_timeout=soon"),
    ],
)
def test_what_cannot_be_a_database_is_refused_without_showing_secrets(url: str, fragment: str) -> None:
    with pytest.raises(SettingsError, match=r"database\.url") as caught:
        locate(url)
    assert fragment in str(caught.value)
    assert "hunter22" not in str(caught.value)


def test_without_asyncpg_the_text_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("evalhub_storage_postgres.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(PluginError, match=r"pip install 'eval-hub-server\[postgres\]'"):
        make_storage(DatabaseSettings(url="postgres://db/jobs"), PluginContext())


def test_naming_the_plugin_imports_nothing_heavy() -> None:
    loaded = loaded_by("from evalhub_storage_postgres.plugin import evalhub_storages; evalhub_storages()")
    assert "asyncpg" not in loaded
