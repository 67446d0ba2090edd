"""The system's providers and collections: what the files say, as far as they can be used."""

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
    """Reads both folders, wherever they are at the time, as often as one likes. Problems are logged, none is raised.

    A file that went bad counts as it was when it was last good; one that never was is left out.
    """

    def __init__(self, providers_dir: Callable[[], Path], collections_dir: Callable[[], Path]) -> None:
        self._folders = (providers_dir, collections_dir)
        self._providers = _Folder(providers_dir, ProviderConfig, "provider")
        self._collections = _Folder(collections_dir, CollectionConfig, "collection")

    def files(self) -> list[Path]:
        """All that :meth:`read` would read now."""
        return [file for folder in self._folders for file in files_in(folder())]

    def read(self) -> SystemResources:
        providers = {
            # The contract lets provider files go without a name.
            key: config if config.name else msgspec.structs.replace(config, name=key)
            for key, config in self._providers.read().items()
        }
        return SystemResources(providers=providers, collections=self._collections.read())


class _Folder(Generic[T]):
    def __init__(self, path: Callable[[], Path], type_: type[T], word: str) -> None:
        self._path = path
        self._type = type_
        self._word = word
        self._good: dict[str, Loaded[T]] = {}
        """By file, each as it was when it was last good."""

    def read(self) -> dict[str, T]:
        """The configurations by id, in the order of the ids."""
        loaded, findings = read_folder(self._path(), self._type)
        good = {str(one.file): one for one in loaded}
        taken = {one.id for one in loaded}
        for finding in findings:
            if finding.severity != "error":
                log.warning(finding.message, directory=finding.source)
                continue
            last = self._good.get(finding.source)
            if last is not None and last.id not in taken:
                good[finding.source] = last
                what = f"{self._word.capitalize()} file is wrong; its last good version stays in use"
            else:
                what = f"{self._word.capitalize()} skipped"
            line = f"line {finding.line}: " if finding.line else ""
            log.warning(what, file=finding.source, error=line + finding.message)
        for file, one in good.items():
            before = self._good.get(file)
            if before is None or before.id != one.id or before.config != one.config:
                log.info(f"{self._word.capitalize()} loaded", **{f"{self._word}_id": one.id, "file": file})
        self._good = good
        return {one.id: one.config for one in sorted(good.values(), key=lambda one: one.id)}
