"""Directory with copies of exactly the packages that adapters in managed environments import."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

from evalhub_common.private_paths import make_private
from evalhub_server import __version__
from evalhub_server.environments.store import AdaptersError, adapters_dir, check_private

COPIED = ("evalhub_adapters", "evalhub_common")
FOLDER = "packages"


def adapter_packages(base: Path | None = None) -> Path:
    """Return the directory for ``PYTHONPATH``; it is created if it is missing, and again if its contents differ.

    ``base`` is the adapters directory. Blocks for some milliseconds.

    Raises:
        AdaptersError: it cannot be written, or other users can.
    """
    sources, digest = _sources()
    folder = (base or adapters_dir()) / FOLDER
    target = folder / f"{__version__}-{digest[:16]}"
    try:
        make_private(folder)
        check_private(folder)
        if target.is_dir() and _digest({name: target / name for name in sources}) == digest:
            return target
        copy = folder / f".{uuid4().hex}"
        _copy(sources, copy)
        _publish(copy, target)
    except OSError as error:
        raise AdaptersError(
            f"The packages of the adapters cannot be copied to {folder}: {error.strerror or error}; set "
            "EVALHUB_ADAPTERS_DIR to a directory that can be written."
        ) from None
    return target


@cache
def _sources() -> tuple[dict[str, Path], str]:
    """The installed packages, and the digest of their contents; they do not change while the program runs."""
    found: dict[str, Path] = {}
    for name in COPIED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = Path(spec.origin).parent
    return found, _digest(found)


def _digest(packages: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, folder in sorted(packages.items()):
        for file in sorted(_files(folder)):
            content = file.read_bytes()
            digest.update(f"{name}/{file.relative_to(folder)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for directory, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if each != "__pycache__"]
        yield from (Path(directory, file) for file in files if not file.endswith(".pyc"))


def _copy(packages: dict[str, Path], target: Path) -> None:
    for name, folder in packages.items():
        for file in _files(folder):
            copied = target / name / file.relative_to(folder)
            make_private(copied.parent)
            shutil.copyfile(file, copied)


def _publish(copy: Path, target: Path) -> None:
    """Rename the copy; another process may have been faster, and a damaged target is moved aside."""
    damaged = copy.with_suffix(".damaged")
    if target.exists():
        target.rename(damaged)
    try:
        copy.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(damaged, ignore_errors=True)
