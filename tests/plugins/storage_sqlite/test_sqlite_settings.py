"""From the configured url to the database."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.errors import SettingsError
from evalhub_storage_sqlite.settings import locate

SHIPPED = "file::eval_hub:?mode=memory&cache=shared"
MEMORY = [
    "",
    "  ",
    ":memory:",
    "file::memory:",
    "file::memory:?cache=shared",
    SHIPPED,
    "file:x.db?mode=memory",
]


@pytest.mark.parametrize("url", MEMORY)
def test_memory(url: str) -> None:
    assert locate(url, None) is None


@pytest.mark.parametrize("url", MEMORY)
def test_a_data_directory_makes_memory_durable(url: str) -> None:
    assert locate(url, Path("/data")) == Path("/data/evalhub.db")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:/abs/path.db", "/abs/path.db"),
        ("file:///abs/path.db", "/abs/path.db"),
        ("file://localhost/abs/path.db", "/abs/path.db"),
        ("file:/abs/path.db?mode=rwc&cache=shared&_pragma=busy_timeout(5000)", "/abs/path.db"),
        ("file:/with%20space.db", "/with space.db"),
        ("/abs/path.db", "/abs/path.db"),
        ("/with%20percent?.db", "/with%20percent?.db"),
        (" /abs/path.db ", "/abs/path.db"),
    ],
)
@pytest.mark.parametrize("data_dir", [None, Path("/data")])
def test_a_file_is_that_file_whatever_the_data_directory(url: str, path: str, data_dir: Path | None) -> None:
    assert locate(url, data_dir) == Path(path)


@pytest.mark.parametrize("url", ["file:relative.db?mode=rwc", "file:relative.db", "relative.db"])
def test_a_relative_path_is_below_the_working_directory(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(url, None) == tmp_path / "relative.db"


def test_a_tilde_is_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert locate("~/jobs.db", None) == Path("/home/ada/jobs.db")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgres://ada:secret@db/jobs", "Set database.driver to pgx"),
        ("file://server/share/jobs.db", "'server'"),
        ("file:/jobs.db?mode=ro", "mode=ro"),
        ("file:", "names no file"),
        ("file:?cache=shared", "names no file"),
    ],
)
def test_what_cannot_be_a_database_is_refused_without_showing_secrets(url: str, text: str) -> None:
    with pytest.raises(SettingsError, match=r"database\.url") as caught:
        locate(url, None)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
