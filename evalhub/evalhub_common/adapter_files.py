"""Files that an adapter left for another program: opened without following a link or waiting for a pipe.

An adapter can leave a link to any file that the program which reads it may read, such as a credential.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


class NotAFile(Exception):
    """What an adapter left is no regular file; the text is the reason."""


def open_regular(directory: Path, name: str) -> BinaryIO | None:
    """Open a file below a directory; None if there is none. ``name`` is a relative path with ``/``.

    Neither the directory nor any part of ``name`` may be a link, even if it is replaced meanwhile.

    Raises:
        NotAFile: something else is at the path.
        OSError: it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    *parents, last = name.split("/")
    try:
        fd = os.open(directory, flags | os.O_DIRECTORY)
        for part in (*parents, last):
            parent = fd
            try:
                fd = os.open(part, flags | (0 if part is last else os.O_DIRECTORY), dir_fd=parent)
            finally:
                os.close(parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise NotAFile(f"{last} is a symbolic link, or below one") from error
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotAFile(f"{last} is not a regular file")
    return os.fdopen(fd, "rb")


def names_below(directory: Path) -> Iterator[str]:
    """The relative paths of all entries below a directory that are no directories, in their order. Follows no link."""
    if directory.is_symlink():
        return
    for where, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            yield Path(where, name).relative_to(directory).as_posix()
