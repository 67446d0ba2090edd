"""Cache of parsed provider and collection files: parsing the bundled ones takes a tenth of a start."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from evalhub_common.private_paths import UnsafePath, check_directory, make_private, open_private, safe_path
from evalhub_server.engine.code_state import code_state

T = TypeVar("T", bound=Struct)

SETTLED_S = 2.0
"""Files that changed less than this long ago are not cached: another change could have the same time."""
MAX_BYTES = 16 * 2**20
_CODE = ("domain", "engine", "models", "plugins", "settings")
"""The packages whose code decides what a file means."""


class Stamp(NamedTuple):
    """What changes whenever the content of a file does."""

    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    def settled(self) -> bool:
        return time.time_ns() - max(self.modified_ns, self.changed_ns) > SETTLED_S * 1e9


class ParsedFile(Struct, kw_only=True, frozen=True):
    """A valid file: the id and the configuration of its resource, and (line, message) of each warning."""

    stamp: Stamp
    id: str
    config: msgspec.Raw
    warnings: tuple[tuple[int, str], ...] = ()


class _Content(Struct):
    code: str
    files: dict[str, ParsedFile]


class CatalogCache:
    """Parsed files by path, in one file of this user: ``path``; None caches nothing.

    It has the files of the last :meth:`save`, so servers with different catalogues on the same account replace each other's. A
    file that is missing, damaged, or of another version of the server is an empty cache, and one that cannot be written is
    left as it is. One that other users can write to is not used: providers have commands that the server runs.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stored: dict[str, ParsedFile] | None = None
        self._used: dict[str, ParsedFile] = {}
        self._changed = False

    def get(self, file: Path, type_: type[T]) -> tuple[ParsedFile, T] | None:
        """The parsed file and its configuration; None unless the file is as it was when it was cached."""
        stamp = stamp_of(file)
        if self._path is None or stamp is None:
            return None
        if self._stored is None:
            self._stored = _read(self._path)
        key = _key(file, type_)
        found = self._stored.get(key)
        if found is None or found.stamp != stamp:
            return None
        try:
            config = msgspec.json.decode(found.config, type=type_)
        except msgspec.MsgspecError:
            return None
        self._used[key] = found
        return found, config

    def put(
        self,
        file: Path,
        stamp: Stamp | None,
        resource_id: str,
        config: Struct,
        warnings: tuple[tuple[int, str], ...],
    ) -> None:
        """Cache a file that was parsed after ``stamp`` was taken."""
        if self._path is None or stamp is None or not stamp.settled():
            return
        encoded = msgspec.json.encode(config)
        if msgspec.json.decode(encoded, type=type(config)) == config:
            parsed = ParsedFile(stamp=stamp, id=resource_id, config=msgspec.Raw(encoded), warnings=warnings)
            self._used[_key(file, type(config))] = parsed
            self._changed = True

    def save(self) -> None:
        """Store the files that were read since the last call, if one of them was not cached."""
        if self._changed and self._path is not None:
            _write(self._path, self._used)
        self._stored, self._used, self._changed = None, {}, False


def stamp_of(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _key(file: Path, type_: type[Struct]) -> str:
    return f"{type_.__name__} {file}"


@lru_cache(1)
def _code() -> str:
    package = Path(__file__).parent.parent
    files = (path for folder in _CODE for path in (package / folder).rglob("*.py"))
    return hashlib.blake2b(code_state(files).encode()).hexdigest()


def _read(path: Path) -> dict[str, ParsedFile]:
    try:
        check_directory(safe_path(path.parent))
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as stream:
            digest, _, data = stream.read(MAX_BYTES).partition(b"\n")
        if digest != _digest(data):
            return {}
        content = msgspec.json.decode(data, type=_Content)
    except (OSError, UnsafePath, msgspec.MsgspecError):
        return {}
    return content.files if content.code == _code() else {}


def _write(path: Path, files: dict[str, ParsedFile]) -> None:
    data = msgspec.json.encode(_Content(_code(), files))
    # A file of its own for each server, so that several of them can start at the same time.
    new = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError, UnsafePath):
        folder = safe_path(path.parent)
        make_private(folder)
        check_directory(folder)
        try:
            with os.fdopen(open_private(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as stream:
                stream.write(_digest(data) + b"\n" + data)
            new.replace(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()
