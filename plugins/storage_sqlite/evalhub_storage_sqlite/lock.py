"""One server per database file."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from evalhub_server.errors import StartupError


class FileLock:
    """An advisory lock on ``<database>.lock``.

    Records are cached, so a second server on the same file would overwrite what the first one wrote. The kernel drops
    the lock when its holder ends in whatever way, so a stale one cannot be; the file itself stays, because removing it
    would let two processes each lock a file of that name. A file of its own, because SQLite's locks on the database are
    of a kind (POSIX) that any ``close`` of the file in this process drops.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise :class:`StartupError`, naming the process that has it. Never waits."""
        # Not inheritable, as always in Python: an adapter that outlives a killed server does not keep the lock.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
            os.close(fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise StartupError(
                    f"The database {self._database} cannot be locked ({error.strerror}); its file system may not "
                    f"support locks. Put the database on a local disk."
                ) from error
            raise StartupError(
                f"The database {self._database} is in use by another server"
                f"{f' (process {holder})' if holder else ''}. Stop that one, or give this one another database.url "
                f"or --data-dir."
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
