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
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from evalhub_server.plugins import (
    JobSpec,
    StartupError,
    UnsafePath,
    check_directory,
    is_trusted_owner,
    make_private,
    safe_path,
)

LONGEST_PART_BYTES = 255
KEPT_CHARACTERS = 40
MIN_PARTS = 4
"""Parts of a benchmark's directory below the base: job, index, provider, and at least one for the benchmark."""

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
        self._checked: tuple[int, ...] | None = None

    def job(self, job_id: str) -> Path:
        return self.base / path_part(job_id)

    def benchmark(self, spec: JobSpec) -> str:
        return self.directory(spec.id, spec.benchmark_index, spec.provider_id, spec.benchmark_id)

    def directory(self, job_id: str, index: int, provider_id: str, benchmark_id: str) -> str:
        """The directory of a benchmark: a text, since each launch needs many paths and :class:`Path` is slow."""
        parts = "/".join(map(path_part, benchmark_id.split("/")))
        return f"{self.base}/{path_part(job_id)}/{index}/{path_part(provider_id)}/{parts}"

    def relocated(self, directory: str) -> str:
        """The directory of a benchmark, whose path was recorded with another base if it was restored from a backup."""
        if directory.startswith(f"{self.base}/"):
            return directory
        parts = Path(directory).parts
        for start in range(1, len(parts) - MIN_PARTS + 1):
            candidate = self.base.joinpath(*parts[start:])
            if candidate.is_dir():
                return str(candidate)
        return directory

    def ensure(self) -> None:
        """Create the base directory if it is missing, and check that no other user can write to it.

        Files in it are read and run as this user, so another user's directory is never used. A directory that was
        checked is checked again when it has been replaced, or has other permissions. Raises :class:`StartupError`.
        """
        if self._checked is not None and self._status() == self._checked:
            return
        fix = "Set local.jobs_dir or --data-dir to a directory of your own."
        try:
            safe_path(self.base.parent)
            make_private(self.base)
            check_directory(self.base, sticky=True)
        except UnsafePath as error:
            raise StartupError(f"The jobs directory {self.base} cannot be used: {error} {fix}") from error
        except OSError as error:
            raise StartupError(
                f"The jobs directory {self.base} cannot be created: {error.strerror}. {fix}"
            ) from error
        if not os.access(self.base, os.R_OK | os.W_OK | os.X_OK):
            raise StartupError(f"The jobs directory {self.base} is not writable. {fix}")
        self._checked = self._status()

    def _status(self) -> tuple[int, ...] | None:
        try:
            found = os.lstat(self.base)
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mode, found.st_uid, found.st_gid

    def create(self, directory: str) -> bool:
        """Create a directory of a job and its missing parents; returns whether it is new. See :func:`create_own`."""
        return [create_own(path) for path in self._below_base(directory)][-1]

    def check_owner(self, directory: str) -> None:
        """Check that a directory of a job and its parents up to the base are no links and not another user's.

        What does not exist yet is not checked. Raises :class:`UnsafePath`.
        """
        for path in self._below_base(directory):
            try:
                found = os.lstat(path)
            except OSError:
                return
            _check_own_directory(path, found)

    def _below_base(self, directory: str) -> Iterator[str]:
        """The parents of a directory from the base downwards, without it, and the directory itself."""
        end = len(f"{self.base}")
        while end != len(directory):
            end = directory.find("/", end + 1)
            if end < 0:
                end = len(directory)
            yield directory[:end]

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


def create_own(path: str) -> bool:
    """Create a directory; returns whether it is new. Raises :class:`OSError`, or :class:`UnsafePath` if it is not ours."""
    try:
        os.mkdir(path, 0o700)  # noqa: PTH102  see JobsDir.directory
    except FileExistsError:
        _check_own_directory(path, os.lstat(path))
        return False
    return True


def _check_own_directory(path: str, found: os.stat_result) -> None:
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafePath(f"{path} is not a directory. Remove it.")
    if not is_trusted_owner(found.st_uid):
        raise UnsafePath(f"{path} belongs to another user (uid {found.st_uid}). Remove it.")


def make_writable(tree: Path) -> None:
    """Give the owner write access to every directory of a tree. Follows no links and ignores errors."""
    with suppress(OSError):
        tree.chmod(0o700)
    for where, names, _ in os.walk(tree):
        for path in (Path(where, name) for name in names):
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)


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
