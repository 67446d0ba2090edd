"""Files in a directory of bounded size, of which the least recently used are removed."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from evalhub_server.engine.sample_files import part_file

_SUFFIX = ".cached"


class FileCache:
    """Copies of what is elsewhere, by key. It may be deleted at any time; the methods block."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The content of a file; None if it is not cached."""
        path = self.path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return content

    def path(self, key: str) -> Path:
        """Where the file is, if it is cached."""
        return self._root / (hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest() + _SUFFIX)

    def put(self, key: str, write: Callable[[BinaryIO], object]) -> Path:
        """Cache what ``write`` writes to a file. Raises :class:`OSError`."""
        path = self.path(key)
        with part_file(self._root) as (file, part):
            write(file)
            file.flush()
            part.replace(path)
        with self._lock:
            self._evict(path)
        return path

    def remove(self, keys: Iterable[str]) -> None:
        for key in keys:
            with suppress(OSError):
                self.path(key).unlink(missing_ok=True)

    def _evict(self, kept: Path) -> None:
        found: list[tuple[int, int, str]] = []
        with os.scandir(self._root) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX):
                    with suppress(FileNotFoundError):
                        stat = entry.stat(follow_symlinks=False)
                        found.append((stat.st_mtime_ns, stat.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                return
            if path != str(kept):
                Path(path).unlink(missing_ok=True)
                total -= size
