"""From an error of asyncpg to one that says what happened to which object and what to do."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import asyncpg

from evalhub_server.plugins import StorageError, StorageUnavailable
from evalhub_storage_postgres.address import Address

R = TypeVar("R")

FAULTS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # the network's, and time-outs
    UnicodeError,  # a text that is none, such as half a surrogate pair
)
"""What working with a connection raises."""

_UNREACHABLE = "Check that the database server runs and that database.url has its host and port."
_FIXES = {
    "08": _UNREACHABLE,
    "25": "The database only reads: name its primary in database.url.",
    "28": "Check user and password in database.url, and the server's pg_hba.conf.",
    "3D": "Create the database, or correct its name in database.url.",
    "3F": "Create the schema, or correct search_path in database.url.",
    "42": "Let the database's user own the schema and its tables (GRANT CREATE, USAGE ON SCHEMA).",
    "53": "Give the database server more disk, memory or connections, or lower database.max_open_conns.",
    "57": "The database server is starting, stopping or busy; try again.",
}
"""By the class of the SQLSTATE."""

_TRANSIENT = ("08", "25006", "28", "3D", "40", "53", "55", "57", "58")
"""SQLSTATEs, and classes of them, that have nothing to do with what was asked: the database is away, full, locked, a
standby, or shuts the server out."""


def fix_for(error: BaseException) -> str:
    """Return what the user can do about it."""
    state: str | None = getattr(error, "sqlstate", None)
    if state:
        return _FIXES.get(state[:2], "Look at the log of the database server.")
    if isinstance(error, UnicodeError):
        return "Correct what was sent."
    if isinstance(error, ssl.SSLError):
        return "Check sslmode and sslrootcert in database.url, and the certificate of the database server."
    if isinstance(error, FileNotFoundError):
        return "Check the files that database.url names: sslrootcert, sslcert, sslkey, a socket's directory as host."
    if isinstance(error, ValueError):  # of asyncpg's, about the url
        return "Correct database.url."
    return _UNREACHABLE


def reason_of(error: BaseException, address: Address) -> str:
    """Return the error's text, in one line and without secrets."""
    text = str(error) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)
    return address.redact(" ".join(text.split())).rstrip(".")


class Refused(Exception):
    """What a change raised, on its way past :func:`faults`: it is nothing of the database's, whatever its type."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def changed(change: Callable[[R], R | None], record: R) -> R | None:
    """Call the change. Raises :class:`Refused`."""
    try:
        return change(record)
    except Exception as error:
        raise Refused(error) from error


@contextmanager
def faults(doing: str, address: Address) -> Generator[None]:
    """Turn what asyncpg raises into a StorageError. ``doing`` is such as ``Reading job 1234``."""
    try:
        yield
    except FAULTS as error:
        kind = StorageUnavailable if _is_transient(error) else StorageError
        raise kind(
            f"{doing} failed: {reason_of(error, address)} ({address.shown}). {fix_for(error)}"
        ) from error


def _is_transient(error: Exception) -> bool:
    state: str | None = getattr(error, "sqlstate", None)
    if state:
        return state.startswith(_TRANSIENT)
    # asyncpg's InterfaceError is a connection that was closed, unless it is about a value: then it is a ValueError, too.
    return isinstance(error, OSError | asyncpg.InterfaceError) and not isinstance(error, ValueError)
