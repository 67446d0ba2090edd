"""Catalog of system providers and collections, read from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import structlog

from evalhub_server.engine.catalog_files import Loaded, files_in, read_folder
from evalhub_server.engine.resource_store import SystemResources
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig

T = TypeVar("T", ProviderConfig, CollectionConfig)

log = structlog.get_logger()


class Catalog:
    """The files of both folders, whose current paths the two callables return.

    Errors in files are logged, not raised. A file that became invalid keeps its last valid content; one that was
    never valid is skipped.
    """

    def __init__(self, providers_dir: Callable[[], Path], collections_dir: Callable[[], Path]) -> None:
        self._folders = (providers_dir, collections_dir)
        self._providers = _Folder(providers_dir, ProviderConfig, "provider")
        self._collections = _Folder(collections_dir, CollectionConfig, "collection")

    def files(self) -> list[Path]:
        """The files that :meth:`read` would read now."""
        return [file for folder in self._folders for file in files_in(folder())]

    def read(self) -> SystemResources:
        """Read all files again."""
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

    def read(self) -> dict[str, T]:
        """The configurations by id, sorted."""
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
        self._valid = valid
        return {
            resource.id: resource.config
            for resource in sorted(valid.values(), key=lambda resource: resource.id)
        }
