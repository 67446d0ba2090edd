"""Adapters directory: where managed environments are, and which one of a framework is in use."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_common.private_paths import UnsafePath, check_directory, safe_path
from evalhub_server.errors import EvalHubError

ADAPTERS_DIR = "EVALHUB_ADAPTERS_DIR"
CURRENT = "current"
MANIFEST = "environment.json"


class AdaptersError(EvalHubError):
    """A managed environment cannot be installed, found or removed; the text is one sentence that names the remedy."""


class Manifest(Struct, kw_only=True, frozen=True):
    """What was installed into an environment. ``version`` is the framework's, ``python`` the interpreter's.

    ``lock`` is the SHA-256 of the lock; ``packages`` are the versions of all distributions by name; ``missing_data`` names
    the extra data that could not be downloaded.
    """

    name: str
    version: str
    python: str
    lock: str
    installer: str
    installed_at: str
    packages: dict[str, str] = {}
    missing_data: tuple[str, ...] = ()


class ManagedEnvironment(Struct, kw_only=True, frozen=True):
    """An installed environment of a framework; ``path`` is the virtual environment."""

    path: Path
    manifest: Manifest

    @property
    def bin(self) -> Path:
        """The directory of its programs."""
        return self.path / "bin"

    @property
    def python(self) -> Path:
        return self.bin / "python"


def user_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``evalhub`` in the user's directory for data of programs, by the convention of the platform."""
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "evalhub"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA", "").strip() or home / "AppData" / "Local") / "evalhub"
    base = Path(environ.get("XDG_DATA_HOME", "").strip())
    return (base if base.is_absolute() else home / ".local" / "share") / "evalhub"


def user_cache_dir(environ: Mapping[str, str] = os.environ) -> Path | None:
    """``evalhub`` in the user's directory for what programs can create again; None for a user without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "evalhub"
    if sys.platform == "win32":
        return user_data_dir(environ) / "cache"
    base = Path(environ.get("XDG_CACHE_HOME", "").strip())
    return (base if base.is_absolute() else home / ".cache") / "evalhub"


def adapters_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """``EVALHUB_ADAPTERS_DIR``, else ``adapters`` in :func:`user_data_dir`: the same with every data directory."""
    if value := environ.get(ADAPTERS_DIR, "").strip():
        return Path(value).expanduser().absolute()
    return user_data_dir(environ) / "adapters"


def is_linked(name: str, base: Path | None = None) -> bool:
    """Whether a framework has an environment in use, complete or not; ``base`` as in :func:`find_environment`."""
    return ((base or adapters_dir()) / name / CURRENT).is_symlink()


def find_environment(name: str, base: Path | None = None) -> ManagedEnvironment | None:
    """Return the environment of a framework that is in use; None if it is not installed, or not completely.

    ``base`` is the adapters directory, by default :func:`adapters_dir`. Reads one small file.

    Raises:
        AdaptersError: other users can change what is in the directory, so its programs are not run.
    """
    base = base or adapters_dir()
    if not is_linked(name, base):
        return None
    folder = base / name
    check_private(folder)
    try:
        path = (folder / (folder / CURRENT).readlink()).resolve(strict=True)
        manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None
    environment = ManagedEnvironment(path=path, manifest=manifest)
    return environment if environment.python.exists() else None


def check_private(folder: Path) -> None:
    """Raise :class:`AdaptersError` if other users can change what is in an existing folder of the adapters directory."""
    try:
        check_directory(safe_path(folder))
    except UnsafePath as error:
        raise AdaptersError(
            f"The adapters directory is not used: {error} "
            f"Programs are run from it; set {ADAPTERS_DIR} to a directory of your own, or correct its permissions."
        ) from None
    except OSError as error:
        raise AdaptersError(
            f"The adapters directory {folder} cannot be examined: {error.strerror}; set {ADAPTERS_DIR} to another one."
        ) from None
