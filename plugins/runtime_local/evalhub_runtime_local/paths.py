"""Directories of jobs. No id leads out of its own directory, whatever characters it contains.

``<jobs_dir>/<job_id>/<benchmark_index>/<provider_id>/<benchmark_id>/``, with ids unchanged where they
are safe. A ``/`` in a benchmark id makes a nested directory (``inspect/petri-x``); other unsafe parts are encoded by
:func:`path_part`. The index is unique in a job, so two benchmarks never share a directory.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from evalhub_server.plugins import JobSpec, StartupError

LONGEST_PART_BYTES = 255
KEPT_CHARACTERS = 40
PRIVATE = 0o700

_UNSAFE = re.compile(r"[%/\\\x00-\x1f\x7f\ud800-\udfff]")


def path_part(text: str) -> str:
    """Return a directory name for ``text``; different texts have different names.

    Separators, control characters, lone surrogates and ``%`` itself are percent-encoded; ``.`` and ``..`` wholly;
    the empty text becomes ``%``; a part too long for a file system keeps its start, then ``%~`` and its SHA-256.
    """
    if text in (".", ".."):
        return "%2E" * len(text)
    part = _UNSAFE.sub(_percent, text) or "%"
    if len(part.encode()) > LONGEST_PART_BYTES:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        part = f"{part[:KEPT_CHARACTERS]}%~{digest}"
    return part


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


class JobsDir:
    """The base directory of all jobs."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def job(self, job_id: str) -> Path:
        return self.base / path_part(job_id)

    def benchmark(self, spec: JobSpec) -> Path:
        parts = [path_part(part) for part in spec.benchmark_id.split("/")]
        return self.job(spec.id).joinpath(str(spec.benchmark_index), path_part(spec.provider_id), *parts)

    def ensure(self) -> None:
        """Create the base directory if it is missing, and check that no other user can write to it.

        Files in it are read and run as this user, so another user's directory is never used. Raises
        :class:`StartupError`.
        """
        fix = "Set local.jobs_dir or --data-dir to a directory of your own."
        try:
            make_private(self.base)
            found = self.base.lstat()
        except OSError as error:
            raise StartupError(
                f"The jobs directory {self.base} cannot be created: {error.strerror}. {fix}"
            ) from error
        if stat.S_ISLNK(found.st_mode):
            raise StartupError(
                f"The jobs directory {self.base} is a symbolic link, which is not followed. {fix}"
            )
        if not stat.S_ISDIR(found.st_mode):
            raise StartupError(f"The jobs directory {self.base} is not a directory. {fix}")
        if found.st_uid != os.geteuid():
            raise StartupError(
                f"The jobs directory {self.base} belongs to another user (uid {found.st_uid}). {fix}"
            )
        open_to_others = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        # With the sticky bit (as /tmp has) others cannot move or remove what is ours.
        if open_to_others and not found.st_mode & stat.S_ISVTX:
            raise StartupError(
                f"The jobs directory {self.base} can be written by other users (mode "
                f"{stat.S_IMODE(found.st_mode):04o}). Run: chmod go-w {self.base}. Or: {fix}"
            )
        if not os.access(self.base, os.R_OK | os.W_OK | os.X_OK):
            raise StartupError(f"The jobs directory {self.base} is not writable. {fix}")

    def remove(self, job_id: str) -> bool:
        """Remove a job's directory; False if there is none. Symbolic links are removed, never followed.

        Raises :class:`OSError` for the first thing that could not be removed, after everything else is gone.
        """
        path = self.job(job_id)
        if not os.path.lexists(path):
            return False
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return True
        problems = _remove_tree(path)
        if problems:
            # Adapters leave read-only directories behind, such as module caches.
            make_writable(path)
            problems = _remove_tree(path)
        if problems:
            raise problems[0]
        return True


def make_private(path: Path) -> None:
    """Create a directory and its missing parents, each with mode 0700. Raises :class:`OSError`."""
    missing: list[Path] = []
    while not os.path.lexists(path):
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(PRIVATE, exist_ok=True)


def make_writable(tree: Path) -> None:
    """Give the owner write access to every directory of a tree. Follows no links and ignores errors."""
    with suppress(OSError):
        tree.chmod(PRIVATE)
    for where, names, _ in os.walk(tree):
        for path in (Path(where, name) for name in names):
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(PRIVATE)


def _remove_tree(path: Path) -> list[OSError]:
    problems: list[OSError] = []

    def note(_function: Callable[..., object], _path: str, error: BaseException) -> None:
        if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
            problems.append(error)

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=note)
    else:
        shutil.rmtree(path, onerror=lambda function, name, info: note(function, name, info[1]))
    return problems
