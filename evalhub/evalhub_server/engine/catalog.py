"""Catalog of system providers and collections, read from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import msgspec
import structlog

from evalhub_server.engine.catalog_cache import CatalogCache
from evalhub_server.engine.catalog_files import Loaded, files_in, read_folders, with_providers
from evalhub_server.engine.resource_store import SystemResources
from evalhub_server.errors import SettingsError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.settings import bundled_config_dir

Folders = Callable[[], Sequence[Path]]

T = TypeVar("T", ProviderConfig, CollectionConfig)

log = structlog.get_logger()


class Catalog:
    """The files of providers and collections, whose current folders the two callables return; an earlier one wins.

    ``cache`` is a file for what was parsed. Bundled collections whose providers are missing are left out.

    Errors in files are logged, not raised. A file that became invalid keeps its last valid content; one that was
    never valid is skipped. The same holds for a folder that cannot be read, except for the first :meth:`read`.
    """

    def __init__(self, providers: Folders, collections: Folders, cache: Path | None = None) -> None:
        self._folders = (providers, collections)
        self._cache = CatalogCache(cache)
        self._providers = _Kind(providers, ProviderConfig, "provider", self._cache)
        self._collections = _Kind(collections, CollectionConfig, "collection", self._cache)

    def files(self) -> list[Path]:
        """The files that :meth:`read` would read now. Raises :class:`SettingsError` if a folder cannot be read."""
        folders = [folder for kind in self._folders for folder in kind()]
        return [file for folder in folders for file in files_in(folder) or ()]

    @property
    def complete(self) -> bool:
        """Whether the last :meth:`read` could read both folders."""
        return self._providers.readable and self._collections.readable

    def read(self) -> SystemResources:
        """Read all files again. The first call raises :class:`SettingsError` if a folder cannot be read."""
        providers = {
            # Contract: provider files may lack a name.
            one.id: one.config if one.config.name else msgspec.structs.replace(one.config, name=one.id)
            for one in self._providers.read()
        }
        bundled = bundled_config_dir() / "collections"
        collections = with_providers(self._collections.read(), providers, bundled)
        self._cache.save()
        return SystemResources(providers=providers, collections={one.id: one.config for one in collections})


class _Valid(NamedTuple):
    """A valid file. Its configuration is encoded, which takes a third of the memory."""

    id: str
    config: bytes


class _Kind(Generic[T]):
    def __init__(self, folders: Folders, type_: type[T], kind: str, cache: CatalogCache) -> None:
        self._folders = folders
        self._type = type_
        self._kind = kind
        self._cache = cache
        self._valid: dict[str, _Valid] = {}
        """The last valid content of each file."""
        self.readable = False
        self._was_read = False

    def read(self) -> list[Loaded[T]]:
        """The valid files, sorted by id."""
        try:
            resources = self._read()
            valid = {
                file: _Valid(each.id, msgspec.json.encode(each.config)) for file, each in resources.items()
            }
            for file, each in valid.items():
                if self._valid.get(file) != each:
                    loaded = f"{self._kind.capitalize()} loaded"
                    log.info(loaded, **{f"{self._kind}_id": each.id, "file": file})
            self._valid = valid
            self.readable = self._was_read = True
        except SettingsError as error:
            if not self._was_read:
                raise
            self.readable = False
            message = f"{self._kind.capitalize()} folder cannot be read; its last valid version stays in use"
            log.warning(message, directory=error.source, error=error.message)
            resources = {file: self._last(file) for file in self._valid}
        return sorted(resources.values(), key=lambda resource: resource.id)

    def _last(self, file: str) -> Loaded[T]:
        last = self._valid[file]
        return Loaded(Path(file), last.id, msgspec.json.decode(last.config, type=self._type))

    def _read(self) -> dict[str, Loaded[T]]:
        """The valid content of each file now, by its path."""
        loaded, findings = read_folders(self._folders(), self._type, self._cache)
        valid = {str(resource.file): resource for resource in loaded}
        loaded_ids = {resource.id for resource in loaded}
        for finding in findings:
            if finding.severity != "error":
                place = (
                    {"file": finding.source, "line": finding.line}
                    if finding.line
                    else {"directory": finding.source}
                )
                log.warning(finding.message, **place)
                continue
            last = self._valid.get(finding.source)
            if last is not None and last.id not in loaded_ids:
                valid[finding.source] = self._last(finding.source)
                message = f"{self._kind.capitalize()} file is invalid; its last valid version stays in use"
            else:
                message = f"{self._kind.capitalize()} skipped"
            line = f"line {finding.line}: " if finding.line else ""
            log.warning(message, file=finding.source, error=line + finding.message)
        return valid
