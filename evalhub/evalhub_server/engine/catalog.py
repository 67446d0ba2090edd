"""Catalog of system providers and collections, read from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

from evalhub_server.engine.catalog_files import Loaded, files_in, read_folder
from evalhub_server.engine.resource_store import SystemResources
from evalhub_server.errors import SettingsError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig

T = TypeVar("T", ProviderConfig, CollectionConfig)

log = structlog.get_logger()


class Catalog:
    """The files of both folders, whose current paths the two callables return.

    Errors in files are logged, not raised. A file that became invalid keeps its last valid content; one that was
    never valid is skipped. The same holds for a folder that cannot be read, except for the first :meth:`read`.
    """

    def __init__(self, providers_dir: Callable[[], Path], collections_dir: Callable[[], Path]) -> None:
        self._folders = (providers_dir, collections_dir)
        self._providers = _Folder(providers_dir, ProviderConfig, "provider")
        self._collections = _Folder(collections_dir, CollectionConfig, "collection")

    def files(self) -> list[Path]:
        """The files that :meth:`read` would read now. Raises :class:`SettingsError` if a folder cannot be read."""
        return [file for folder in self._folders for file in files_in(folder()) or ()]

    @property
    def complete(self) -> bool:
        """Whether the last :meth:`read` could read both folders."""
        return self._providers.readable and self._collections.readable

    def read(self) -> SystemResources:
        """Read all files again. The first call raises :class:`SettingsError` if a folder cannot be read."""
        providers = {
            # Contract: provider files may lack a name.
            key: config if config.name else msgspec.structs.replace(config, name=key)
            for key, config in self._providers.read().items()
        }
        return SystemResources(providers=providers, collections=self._collections.read())


class _Folder(Generic[T]):
    def __init__(self, path: Callable[[], Path], type_: type[T], kind: str) -> None:
        self._path = path
        self._type = type_
        self._kind = kind
        self._valid: dict[str, Loaded[T]] = {}
        """The last valid content of each file."""
        self.readable = False
        self._was_read = False

    def read(self) -> dict[str, T]:
        """The configurations by id, sorted."""
        try:
            self._valid = self._read()
            self.readable = self._was_read = True
        except SettingsError as error:
            if not self._was_read:
                raise
            self.readable = False
            message = f"{self._kind.capitalize()} folder cannot be read; its last valid version stays in use"
            log.warning(message, directory=error.source, error=error.message)
        return {
            resource.id: resource.config
            for resource in sorted(self._valid.values(), key=lambda resource: resource.id)
        }

    def _read(self) -> dict[str, Loaded[T]]:
        """The valid content of each file now, by its path."""
        loaded, findings = read_folder(self._path(), self._type)
        valid = {str(resource.file): resource for resource in loaded}
        loaded_ids = {resource.id for resource in loaded}
        for finding in findings:
            if finding.severity != "error":
                log.warning(finding.message, directory=finding.source)
                continue
            last = self._valid.get(finding.source)
            if last is not None and last.id not in loaded_ids:
                valid[finding.source] = last
                message = f"{self._kind.capitalize()} file is invalid; its last valid version stays in use"
            else:
                message = f"{self._kind.capitalize()} skipped"
            line = f"line {finding.line}: " if finding.line else ""
            log.warning(message, file=finding.source, error=line + finding.message)
        for file, resource in valid.items():
            before = self._valid.get(file)
            if before is None or before.id != resource.id or before.config != resource.config:
                log.info(
                    f"{self._kind.capitalize()} loaded", **{f"{self._kind}_id": resource.id, "file": file}
                )
        return valid
