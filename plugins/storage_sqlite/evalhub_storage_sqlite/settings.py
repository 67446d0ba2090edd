"""The configuration section ``database`` of the SQLite storage, and the file or memory that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, unquote

from msgspec import Meta, Struct

from evalhub_server.plugins import SettingsError

FILE_NAME = "evalhub.db"
"""Name of the database in the data directory."""

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_FIX = "Write database.url as file:/path/to/evalhub.db, as a plain path, or leave it empty for memory."
_FIX_DRIVER = "Set database.driver to pgx for PostgreSQL."


class DatabaseSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``database``: SQLite."""

    driver: Annotated[str, Meta(description="`sqlite`, or `pgx` for PostgreSQL.")] = "sqlite"
    url: Annotated[
        str,
        Meta(
            description="Database: a file such as `file:/path/evalhub.db`, which is created if it is missing. Default: `evalhub.db` in the data directory, else memory.",
            examples=["file:/var/lib/evalhub/evalhub.db"],
        ),
    ] = ""
    max_open_conns: Annotated[
        int | None,
        Meta(description="Accepted for compatibility; has no effect: one connection writes and one reads."),
    ] = None
    max_idle_conns: Annotated[int | None, Meta(description="Accepted for compatibility; has no effect.")] = (
        None
    )
    conn_max_lifetime: Annotated[
        str | int | None, Meta(description="Accepted for compatibility; has no effect.")
    ] = None


def locate(url: str, data_dir: Path | None) -> Path | None:
    """Return the absolute path of the database file, or None for a database in memory.

    ``data_dir`` takes precedence over a url in memory, which is that of the shipped configuration; a url that names a
    file takes precedence over ``data_dir``.

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
            fix = _FIX_DRIVER if scheme[1].lower() in ("postgres", "postgresql") else _FIX
            raise SettingsError(f"database.url: {scheme[1]}:// is not an SQLite database. {fix}")
        return Path(url).expanduser()
    name, _, options = url.removeprefix("file:").partition("?")
    mode = parse_qs(options).get("mode", ["rwc"])[-1]
    if mode == "memory" or name == ":memory:":
        return None
    if mode == "ro":
        raise SettingsError(
            "database.url: mode=ro is not supported, since the server writes. Remove the option."
        )
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
