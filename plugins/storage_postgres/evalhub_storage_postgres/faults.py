"""Storage errors from errors of asyncpg, with the operation, the cause and a fix."""

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
    OSError,  # network errors and timeouts
    UnicodeError,  # text that cannot be encoded, such as half a surrogate pair
)
"""Exceptions of work with a connection."""

_UNREACHABLE = "Check that the database server runs and that database.url has its host and port."
_POOLER = "If a pooler such as PgBouncer is in between, let it pool sessions, and pass or ignore the parameters of connections."
_FIXES = {
    "08P01": _POOLER,
    "26000": _POOLER,
    "42P05": _POOLER,
    "08": _UNREACHABLE,
    "25P03": "The server did not continue a transaction in time, such as when its host was suspended; try again.",
    "25": "The database only reads: name its primary in database.url.",
    "28": "Check user and password in database.url, and the server's pg_hba.conf.",
    "3D": "Create the database, or correct its name in database.url.",
    "3F": "Create the schema, or correct search_path in database.url.",
    "42": "Let the database's user own the schema and its tables (GRANT CREATE, USAGE ON SCHEMA).",
    "53": "Give the database server more disk, memory or connections, or lower database.max_open_conns.",
    "57": "The database server is starting, stopping or busy; try again.",
}
"""By the SQLSTATE, or its class."""

_TRANSIENT = ("08", "25006", "25P03", "28", "3D", "40", "53", "55", "57", "58")
"""SQLSTATEs, and classes of them, that do not depend on the request: the database is unavailable, full, locked, a
standby, or refuses the server."""


def fix_for(error: BaseException) -> str:
    """Return the fix as a sentence for the user."""
    state: str | None = getattr(error, "sqlstate", None)
    if state:
        return _FIXES.get(state) or _FIXES.get(state[:2], "Look at the log of the database server.")
    if isinstance(error, UnicodeError):
        return "Correct what was sent."
    if isinstance(error, ssl.SSLError):
        return "Check sslmode and sslrootcert in database.url, and the certificate of the database server."
    if isinstance(error, FileNotFoundError):
        return "Check the files that database.url names: sslrootcert, sslcert, sslkey, a socket's directory as host."
    if isinstance(error, ValueError):  # from asyncpg, about the url
        return "Correct database.url."
    return _UNREACHABLE


def reason_of(error: BaseException, address: Address) -> str:
    """Return the error's text, on one line and without secrets."""
    text = str(error) or ("no response in time" if isinstance(error, TimeoutError) else type(error).__name__)
    return address.redact(" ".join(text.split())).rstrip(".")


class ChangeError(Exception):
    """Wraps an exception of a change, so that :func:`storage_errors` does not take it for one of the database."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(reason)
        self.reason = reason


def apply_change(change: Callable[[R], R | None], record: R) -> R | None:
    """Call the change. Raises :class:`ChangeError`."""
    try:
        return change(record)
    except Exception as error:
        raise ChangeError(error) from error


@contextmanager
def storage_errors(operation: str, address: Address) -> Generator[None]:
    """Convert exceptions of asyncpg to a StorageError. ``operation``: for example ``Reading job 1234``."""
    try:
        yield
    except FAULTS as error:
        kind = StorageUnavailable if _is_transient(error) else StorageError
        raise kind(
            f"{operation} failed: {reason_of(error, address)} ({address.redacted_url}). {fix_for(error)}"
        ) from error


def _is_transient(error: Exception) -> bool:
    state: str | None = getattr(error, "sqlstate", None)
    if state:
        return state.startswith(_TRANSIENT)
    # asyncpg's InterfaceError means a closed connection, unless it is a ValueError, too: then it is about a value. Its
    # InternalClientError means a connection that the database has ended before asyncpg has read that.
    broken = OSError | asyncpg.InterfaceError | asyncpg.InternalClientError
    return isinstance(error, broken) and not isinstance(error, ValueError)
