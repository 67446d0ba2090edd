"""The configuration section ``database`` of the SQLite storage, and the file or memory that it names."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, unquote

from msgspec import Struct

from evalhub_server.plugins import SettingsError

FILE_NAME = "evalhub.db"
"""Name of the database in the data directory."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_FIX = "Write database.url as file:/path/to/evalhub.db, as a plain path, or leave it empty for memory."


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


def locate(url: str, data_dir: Path | None) -> Path | None:
    """Return the absolute path of the database file, or None for a database in memory.

    A durable directory is a switch that the user set by hand, while the url in memory is what the shipped
    configuration has, so ``data_dir`` wins over memory; a url that names a file wins over ``data_dir``.

    Raises:
        SettingsError: the url is of another kind of database, of another host, or read-only.
    """
    path = _path(url.strip())
    if path is None:
        return None if data_dir is None else data_dir.absolute() / FILE_NAME
    return path.absolute()


def _path(url: str) -> Path | None:
    if url in ("", ":memory:"):
        return None
    if not url.startswith("file:"):
        if scheme := _SCHEME.match(url):  # only the scheme is shown: the rest may hold a password
            raise SettingsError(f"database.url: {scheme[1]}:// is not an SQLite database. {_FIX}")
        return Path(url).expanduser()
    name, _, options = url.removeprefix("file:").partition("?")
    mode = parse_qs(options).get("mode", ["rwc"])[-1]
    if mode == "memory" or name == ":memory:":
        return None
    if mode == "ro":
        raise SettingsError("database.url: the server has to write, so mode=ro cannot be. Remove the option.")
    if name.startswith("//"):
        host, slash, rest = name[2:].partition("/")
        if host not in ("", "localhost"):
            raise SettingsError(
                f"database.url: {host!r} would be a host, and SQLite reads local files only. "
                f"An absolute path has one slash or three: file:/path.db or file:///path.db."
            )
        name = slash + rest
    if not name:
        raise SettingsError(f"database.url: {url!r} names no file. {_FIX}")
    return Path(unquote(name))
