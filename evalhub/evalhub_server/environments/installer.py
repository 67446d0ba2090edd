"""Installation, update and removal of managed environments.

An environment is built at its final path, since virtual environments cannot be moved, and becomes the one in use when the
link ``current`` is replaced. Until then, and after an interruption, the earlier one stays. What no process uses any more is
removed by the next install.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from evalhub_common.private_paths import make_private
from evalhub_server.environments.build import Builder, Progress, find_interpreter
from evalhub_server.environments.frameworks import Framework, install_command
from evalhub_server.environments.lock_file import Lock
from evalhub_server.environments.packages import FOLDER as PACKAGES
from evalhub_server.environments.packages import adapter_packages
from evalhub_server.environments.probe import IMPORT_TIMEOUT_S, damage_of, probe, run_python
from evalhub_server.environments.store import (
    CURRENT,
    MANIFEST,
    AdaptersError,
    ManagedEnvironment,
    Manifest,
    adapters_dir,
    check_private,
    find_environment,
    is_linked,
)
from evalhub_server.environments.usage import directories_in_use

DATA_TIMEOUT_S = 120.0
LOG = "install.log"
LOCK_FILE = "lock"
MB = 10**6
PACKAGES_KEPT_S = 86400.0
SPARE = 1.2
"""Free space that an install needs, as a multiple of the environment's size: sources are built in it, too."""


class Installer:
    """Installs and removes the environment of one framework.

    ``lock`` replaces the one of the distribution, ``python`` is the interpreter; ``use_uv`` False selects pip even if uv is on
    PATH. Methods raise :class:`AdaptersError`.
    """

    def __init__(
        self,
        framework: Framework,
        progress: Progress,
        *,
        lock: Path | None = None,
        python: str | None = None,
        use_uv: bool = True,
    ) -> None:
        self._framework = framework
        self._progress = progress
        self._lock_file = lock
        self._python = python
        self._use_uv = use_uv
        self._folder = adapters_dir() / framework.name

    def install(self, *, force: bool = False) -> tuple[ManagedEnvironment, bool]:
        """Install the framework; returns its environment, and False if it was there already, with the same lock and undamaged.

        ``force`` installs it in any case. Extra data that an earlier install could not download is requested again.
        """
        lock = Lock(self._lock_file or self._framework.lock)
        with self._exclusive():
            self._clean()
            found = find_environment(self._framework.name)
            if found is not None and found.manifest.lock == lock.digest and not force:
                damage = damage_of(found)
                if not damage:
                    return self._with_missing_data(found), False
                self._progress.step(f"The installed environment is damaged: {damage}")
            return self._install(lock), True

    def update(self) -> tuple[ManagedEnvironment, bool]:
        """Replace an installed environment if the lock has changed."""
        if not is_linked(self._framework.name):
            name = self._framework.name
            raise AdaptersError(f"'{name}' is not installed; run: {install_command(name)}")
        return self.install()

    def remove(self) -> bool:
        """Remove the environment with all that is left of earlier ones; returns whether there was anything."""
        if not self._folder.is_dir():
            return False
        with self._exclusive():
            used = directories_in_use()
            for path in self._environments():
                if pids := used.get(os.path.realpath(path)):
                    raise AdaptersError(
                        f"'{self._framework.name}' is used by process {pids[0]}; wait for its job or cancel it, and "
                        "repeat the command."
                    )
            existed = is_linked(self._framework.name)
            (self._folder / CURRENT).unlink(missing_ok=True)
            for path in self._folder.iterdir():
                if path.name != LOCK_FILE:
                    _remove(path)
            return existed

    def _install(self, lock: Lock) -> ManagedEnvironment:
        python = find_interpreter(self._python)
        self._check_space()
        path = self._folder / f"{datetime.now(UTC):%Y%m%d}-{uuid4().hex[:8]}"
        try:
            with (self._folder / LOG).open("w", encoding="utf-8", errors="replace") as log:
                uv = shutil.which("uv") if self._use_uv else None
                builder = Builder(python, log, self._progress, uv)
                builder.build(path, lock)
                missing = self._fetch_data(path)
                self._check_imports(path)
                manifest = self._manifest(path, lock, builder.name, missing)
            self._write_manifest(path, manifest)
            self._publish(path)
        except BaseException as error:
            _remove(path)
            if isinstance(error, OSError):
                raise AdaptersError(
                    f"The environment cannot be written to {path}: {error.strerror or error}."
                ) from None
            raise
        self._clean()
        return ManagedEnvironment(path=path, manifest=manifest)

    def _fetch_data(self, path: Path) -> tuple[str, ...]:
        """Download what the framework would download when it is imported; returns the names of what is missing."""
        missing: list[str] = []
        for data in self._framework.data:
            self._progress.step(f"Downloading {data.name}")
            if run_python(path, data.find, IMPORT_TIMEOUT_S).error:
                run_python(path, data.fetch, DATA_TIMEOUT_S)
                if run_python(path, data.find, IMPORT_TIMEOUT_S).error:
                    missing.append(data.name)
        return tuple(missing)

    def _with_missing_data(self, found: ManagedEnvironment) -> ManagedEnvironment:
        if not found.manifest.missing_data:
            return found
        missing = self._fetch_data(found.path)
        found = replace(found, manifest=replace(found.manifest, missing_data=missing))
        self._write_manifest(found.path, found.manifest)
        return found

    def _check_imports(self, path: Path) -> None:
        for module in self._framework.imports:
            self._progress.step(f"Importing {module}")
            if error := run_python(path, f"import {module}", IMPORT_TIMEOUT_S).error:
                raise AdaptersError(
                    f"The installed framework does not work: 'import {module}' fails with: {error}"
                )

    def _manifest(self, path: Path, lock: Lock, installer: str, missing: tuple[str, ...]) -> Manifest:
        found = probe(path)
        if isinstance(found, str):
            raise AdaptersError(f"The interpreter of the environment does not work: {found}")
        return Manifest(
            name=self._framework.name,
            version=found.packages.get(self._framework.distribution, ""),
            python=found.python,
            lock=lock.digest,
            installer=installer,
            installed_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            packages=found.packages,
            missing_data=missing,
        )

    def _write_manifest(self, path: Path, manifest: Manifest) -> None:
        new = path / f".{MANIFEST}"
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path / MANIFEST)

    def _publish(self, path: Path) -> None:
        link = self._folder / f".{CURRENT}-{path.name}"
        link.symlink_to(path.name)
        link.replace(self._folder / CURRENT)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._folder).free
        needed = self._framework.size_mb * MB * SPARE
        if self._lock_file is None and free < needed:
            raise AdaptersError(
                f"{self._framework.title} needs about {needed / MB:.0f} MB in {self._folder.parent}, where {free / MB:.0f} MB "
                "are free; free space, or set EVALHUB_ADAPTERS_DIR to a directory on another disk."
            )

    def _environments(self) -> Iterator[Path]:
        yield from (path for path in self._folder.iterdir() if path.is_dir() and not path.is_symlink())

    def _clean(self) -> None:
        """Remove environments and copied packages that are neither current nor used by a process."""
        # Real paths: the adapters directory can be below a link.
        kept = {os.path.realpath(adapter_packages()), *directories_in_use()}
        if current := find_environment(self._framework.name):
            kept.add(os.path.realpath(current.path))
        for path in self._folder.iterdir():
            temporary = path.is_symlink() and path.name != CURRENT
            if temporary or (path.is_dir() and not path.is_symlink() and os.path.realpath(path) not in kept):
                _remove(path)
        for path in (self._folder.parent / PACKAGES).iterdir():
            # A server may be copying, or about to start an adapter.
            if os.path.realpath(path) not in kept and time.time() - path.stat().st_mtime > PACKAGES_KEPT_S:
                _remove(path)

    @contextmanager
    def _exclusive(self) -> Generator[None, None, None]:
        """Keep other installs of this framework out; the system releases the lock when the process ends."""
        try:
            make_private(self._folder)
            check_private(self._folder)
            file = (self._folder / LOCK_FILE).open("a")
        except OSError as error:
            raise AdaptersError(
                f"The adapters directory {self._folder.parent} cannot be written: {error.strerror}; set EVALHUB_ADAPTERS_DIR "
                "to another one."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AdaptersError(
                    f"Another command is installing or removing '{self._framework.name}'; wait for its end."
                ) from None
            yield


def _remove(path: Path) -> None:
    """Remove a file or directory; what a process still writes to is left to the next install."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()
