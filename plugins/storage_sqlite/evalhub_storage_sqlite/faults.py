"""Storage errors from errors of SQLite, with the operation, the cause and a fix."""

from __future__ import annotations

import sqlite3

from evalhub_server.plugins import StorageError, StorageLost, StorageUnavailable

_FIXES = {
    sqlite3.SQLITE_FULL: "Free disk space and try again.",
    sqlite3.SQLITE_READONLY: "Make the file and its directory writable for the server.",
    sqlite3.SQLITE_CANTOPEN: "Check that the file and its directory exist and are writable for the server.",
    sqlite3.SQLITE_IOERR: "Check the disk and the system log.",
    sqlite3.SQLITE_BUSY: "Another program holds a lock on it; end that program's transaction and try again.",
    sqlite3.SQLITE_LOCKED: "Another program holds a lock on it; end that program's transaction and try again.",
    sqlite3.SQLITE_CORRUPT: "The file is damaged: stop the server and restore it from a backup, or move it away.",
    sqlite3.SQLITE_NOTADB: "The file is not an SQLite database: restore it from a backup, or move it away.",
}

_TRANSIENT = frozenset(
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOMEM,
    )
)
"""Errors that may be over by the next attempt and do not depend on the request."""

UNUSABLE = (sqlite3.Error, UnicodeError, OverflowError, ValueError, StorageLost)
"""Exceptions of calls on a connection: SQLite's own, values that it cannot store, a closed connection, a lost file."""


def fix_for(error: Exception) -> str:
    """Return the fix as a sentence for the user."""
    return _FIXES.get(_family(error), "Try again; if the error persists, see the server log.")


def storage_error(operation: str, description: str, error: Exception) -> StorageError:
    """Return the error for a caller. ``operation``: for example ``Reading job 1234``; ``description``: the storage's."""
    if isinstance(error, StorageLost):
        return StorageLost(f"{operation} failed: {error}")
    kind = StorageUnavailable if _family(error) in _TRANSIENT else StorageError
    return kind(f"{operation} failed: {error} ({description}). {fix_for(error)}")


def is_damage(error: Exception) -> bool:
    """Whether SQLite has found that the file is damaged."""
    return _family(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _family(error: Exception) -> int:
    # The extended code keeps the family in its low byte. Errors of the Python module itself have no code.
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF
