"""From an error of SQLite to one that says what happened to which object and what to do."""

from __future__ import annotations

import sqlite3

from evalhub_server.plugins import StorageError, StorageUnavailable

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
"""What may be over by the next attempt, and has nothing to do with what was asked."""

UNUSABLE = (sqlite3.Error, UnicodeError, OverflowError, ValueError)
"""What calls on a connection raise: SQLite's own, values that it cannot hold, and a connection that is closed."""


def fix_for(error: Exception) -> str:
    """Return what the user can do about it."""
    return _FIXES.get(_family(error), "Try again; if it stays, look at the server's log.")


def storage_error(doing: str, where: str, error: Exception) -> StorageError:
    """Make the error for a caller. ``doing`` is such as ``Reading job 1234``, ``where`` the storage's description."""
    kind = StorageUnavailable if _family(error) in _TRANSIENT else StorageError
    return kind(f"{doing} failed: {error} ({where}). {fix_for(error)}")


def _family(error: Exception) -> int:
    # The extended code keeps the family in its low byte. Errors of the Python module itself have no code.
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & 0xFF
