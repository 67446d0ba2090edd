"""The files of a database: checked, locked, and compared with what their paths lead to while the server runs."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from evalhub_server.plugins import (
    StartupError,
    StorageLost,
    UnsafePath,
    check_directory,
    check_file,
    make_private,
    open_private,
    safe_path,
)

JOBS = "jobs"
"""Name of the directory of job directories beside a database in the data directory."""
_CREATING = "creating"
_OWN = "The database holds commands that the server runs, so only its own user and root may write there."
_ELSEWHERE = "Or give database.url or --data-dir another path."


class DatabaseFiles:
    """Owns the lock on a database and a descriptor of each file, from :meth:`claim` to :meth:`release`.

    Records are cached, so a second server on the same file would overwrite what the first one wrote. Two locks prevent
    that. The one on ``<database>.lock`` names its holder; the one on the database itself, on Linux, holds even if the
    lock file is removed. The kernel releases both when the server exits in any way. The lock file stays, since removing it
    would let two processes each lock a file of that name; its content is the process id until a clean stop, so that the next
    start recognises an unclean one.

    ``path`` may contain links of this user. ``shared``: see :class:`PluginContext`.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self._configured = path
        self._shared = shared
        self._directory: int | None = None
        self._database: int | None = None
        self._lock: int | None = None
        self._files: list[_OpenFile] = []
        self.path = path
        """Without links, once claimed."""
        self.unclean = False
        """Whether the last server on this database did not close it."""

    @property
    def _lock_path(self) -> Path:
        return self._beside(".lock")

    def claim(self) -> None:
        """Check the files, lock the database, and create what is missing, private to the user.

        Raises:
            StartupError: other users can change a file, another server has the database, or it has lost its records.
            OSError: a file cannot be opened.
        """
        try:
            self._claim()
        except UnsafePath as error:
            self.release(clean=False)
            raise StartupError(
                f"The database {self._configured} cannot be used: {error} {_OWN} {_ELSEWHERE}"
            ) from error
        except BaseException:
            self.release(clean=False)
            raise

    def _claim(self) -> None:
        self.path = safe_path(self._configured, shared=self._shared)
        directory = self.path.parent
        make_private(directory)
        check_directory(directory, shared=self._shared)
        for suffix in ("-wal", "-shm", "-journal"):
            check_file(self._beside(suffix), shared=self._shared)
        self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        content = self._acquire()
        log = self._size(self._beside("-wal"))
        if not self._size(self.path):
            if not content.endswith(_CREATING):
                self._check_new(log)
            self._write_holder(_CREATING)
        self.unclean = bool(log or content)
        # SQLite would create it readable for all.
        self._database = open_private(self.path, os.O_RDWR | os.O_CREAT, shared=self._shared)
        # Not elsewhere: there, flock conflicts with SQLite's own locks. Descriptors of the database stay open until SQLite
        # has closed its own, because the first close in a process releases SQLite's locks.
        if sys.platform == "linux" and not _locked(self._database):
            raise self._in_use("")
        self._files = [
            _OpenFile.of("directory", self.path.parent, self._directory),
            _OpenFile.of("database", self._configured, self._database),
            _OpenFile.of("lock", self._lock_path, self._lock),
        ]
        if reason := self._moved():
            raise StartupError(f"{reason} while the server was starting. Start it again.")

    def opened(self) -> None:
        """Note that the database has a schema: from now on, an empty file is a loss and not an interrupted start."""
        self._write_holder("")

    def _acquire(self) -> str:
        """Take the lock, without waiting; returns what its last holder left in it."""
        fd = open_private(self._lock_path, os.O_RDWR | os.O_CREAT, shared=self._shared)
        try:
            locked = _locked(fd)
            content = os.pread(fd, 40, 0).decode("ascii", "replace").strip()
            if not locked:
                raise self._in_use(content.partition(" ")[0])
        except OSError as error:
            os.close(fd)
            raise StartupError(
                f"The database {self._configured} cannot be locked ({error.strerror}); its file system may not "
                f"support locks. Put the database on a local disk."
            ) from error
        except BaseException:
            os.close(fd)
            raise
        self._lock = fd
        return content

    def _write_holder(self, state: str) -> None:
        assert self._lock is not None  # noqa: S101  acquired before
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()} {state}".strip().encode(), 0)

    def _in_use(self, holder: str) -> StartupError:
        return StartupError(
            f"The database {self._configured} is in use by another server"
            f"{f' (process {holder})' if holder else ''}. Stop that one, or give this one another database.url "
            f"or --data-dir."
        )

    def _check_new(self, log_bytes: int) -> None:
        """A database without a byte must be a new one. Raises :class:`StartupError` if something shows that it is not."""
        wal, name = self._beside("-wal"), self.path.name
        if log_bytes:
            raise StartupError(
                f"The database {self.path} is {'empty' if self.path.exists() else 'missing'}, but its write-ahead log "
                f"{wal} has records, which would be lost. Restore {name} from a backup, or move {wal.name} away, too, to "
                "start with an empty database."
            )
        jobs = self.path.with_name(JOBS)
        if self.path.exists() and jobs.is_dir() and any(jobs.iterdir()):
            raise StartupError(
                f"The database {self.path} is empty (0 bytes), but {jobs} has directories of jobs that were stored in it. "
                f"Restore {name} from a backup, or remove it to start with an empty database."
            )

    def check(self) -> None:
        """Raise :class:`StorageLost` unless the paths still lead to the open files. Blocks for a few microseconds."""
        if reason := self._moved():
            raise StorageLost(
                f"{reason} while the server used it, so what is written now would be lost. Put it back, or remove what is "
                "left of it, and start the server again."
            )

    def _moved(self) -> str:
        if not any(file.fate() for file in self._files[1:]):
            return ""  # the directory, which is the first, is in its place, too
        for file in self._files:
            if fate := file.fate():
                return f"The {file.kind} {file.path} was {fate}"
        return ""

    def release(self, *, clean: bool) -> None:
        """Release the locks; SQLite must have closed its files. Idempotent.

        ``clean``: the database was closed and is not known to be damaged, so the next start need not verify it.
        """
        if clean and self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
        for fd in (self._database, self._lock, self._directory):
            if fd is not None:
                os.close(fd)
        self._database = self._lock = self._directory = None
        self._files = []

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _size(self, path: Path) -> int:
        found = check_file(path, shared=self._shared)
        return 0 if found is None else found.st_size


def _locked(fd: int) -> bool:
    """Lock a file; False if another process has it. Raises :class:`OSError` if it cannot be locked at all."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


class _OpenFile(Struct, frozen=True):
    """A file that is open, and the device and inode that its path must lead to."""

    kind: str
    path: str
    fd: int
    identity: tuple[int, int]

    @classmethod
    def of(cls, kind: str, path: Path, fd: int | None) -> _OpenFile:
        assert fd is not None  # noqa: S101  opened before
        return cls(kind, str(path), fd, _identity(os.fstat(fd)))

    def fate(self) -> str:
        """What happened to the file if its path leads to it no longer, as a participle; empty if nothing did."""
        try:
            found = os.stat(self.path)  # noqa: PTH116  a quarter of the time of Path.stat, at each commit
        except (FileNotFoundError, NotADirectoryError):
            return "removed" if os.fstat(self.fd).st_nlink == 0 else "moved or removed"
        except OSError:
            return ""  # unknown: a disk fault is no removal
        return "" if _identity(found) == self.identity else "replaced"


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
