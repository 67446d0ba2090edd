"""The providers and collections that come from YAML files. A bad file is skipped and named; the rest is served."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from evalhub_server.engine.catalogfiles import Loaded, read_folder
from evalhub_server.models.collection import Collection, CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER, Provider, ProviderConfig, ResourceInfo

T = TypeVar("T", bound=msgspec.Struct)

log = structlog.get_logger()


class Catalog:
    """System providers and collections by id, in the order of their ids."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.provider_configs: dict[str, ProviderConfig] = {}
        self.collections: dict[str, Collection] = {}

    @classmethod
    def load(cls, providers_dir: Path, collections_dir: Path) -> Catalog:
        """Read every ``*.yaml`` and ``*.yml`` of both folders. Problems are logged, none is raised."""
        catalog = cls()
        for one in _good(providers_dir, ProviderConfig):
            config = one.config if one.config.name else msgspec.structs.replace(one.config, name=one.id)
            catalog.provider_configs[one.id] = config
            catalog.providers[one.id] = _provider(one.id, config, _modified(one.file))
            log.info("Provider loaded", provider_id=one.id, file=str(one.file))
        for one in _good(collections_dir, CollectionConfig):
            catalog.collections[one.id] = Collection(
                id=one.id, updated_at=_modified(one.file), config=one.config
            )
            log.info("Collection loaded", collection_id=one.id, file=str(one.file))
        catalog.providers = dict(sorted(catalog.providers.items()))
        return catalog


def _good(folder: Path, type_: type[T]) -> list[Loaded[T]]:
    loaded, findings = read_folder(folder, type_)
    for finding in findings:
        if finding.severity == "error":
            what = f"{type_.__name__.removesuffix('Config')} skipped"
            line = f"line {finding.line}: " if finding.line else ""
            log.warning(what, file=finding.source, error=line + finding.message)
        else:
            log.warning(finding.message, directory=finding.source)
    return loaded


def _provider(resource_id: str, config: ProviderConfig, modified: datetime) -> Provider:
    info = ResourceInfo(id=resource_id, owner=SYSTEM_OWNER, created_at=modified, updated_at=modified)
    return Provider(
        resource=info,
        name=config.name,
        title=config.title,
        description=config.description or msgspec.UNSET,
        tags=config.tags or msgspec.UNSET,
        benchmarks=config.benchmarks,
        runtime=config.runtime or msgspec.UNSET,
        agent=config.agent or msgspec.UNSET,
        custom=msgspec.UNSET if config.custom is None else config.custom,
    )


def _modified(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
