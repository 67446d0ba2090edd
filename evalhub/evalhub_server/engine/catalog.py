"""The providers and collections that come from YAML files. A bad file is skipped and named; the rest is served."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import structlog

from evalhub_server.domain.providers import normal_runtime
from evalhub_server.domain.validation import convert, describe, failed_rules
from evalhub_server.errors import SettingsError
from evalhub_server.models.collection import Collection, CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER, Provider, ProviderConfig, ResourceInfo
from evalhub_server.settings import read_yaml

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
        for file, resource_id, config in _files(providers_dir, ProviderConfig):
            if resource_id in catalog.providers:
                log.warning(
                    "Provider skipped", file=str(file), error=f"id: '{resource_id}' is taken by another file"
                )
                continue
            if not config.name:
                config = msgspec.structs.replace(config, name=resource_id)  # noqa: PLW2901
            catalog.provider_configs[resource_id] = config
            catalog.providers[resource_id] = _provider(resource_id, config, _modified(file))
            log.info("Provider loaded", provider_id=resource_id, file=str(file))
        for file, resource_id, config in _files(collections_dir, CollectionConfig):
            if resource_id in catalog.collections:
                log.warning(
                    "Collection skipped",
                    file=str(file),
                    error=f"id: '{resource_id}' is taken by another file",
                )
                continue
            catalog.collections[resource_id] = Collection(
                id=resource_id, updated_at=_modified(file), config=config
            )
            log.info("Collection loaded", collection_id=resource_id, file=str(file))
        catalog.providers = dict(sorted(catalog.providers.items()))
        return catalog


def _files(folder: Path, type_: type[T]) -> list[tuple[Path, str, T]]:
    if not folder.is_dir():
        log.warning("No config files found", directory=str(folder))
        return []
    loaded: list[tuple[Path, str, T]] = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() not in (".yaml", ".yml") or not file.is_file():
            continue
        try:
            loaded.append((file, *_read(file, type_)))
        except (SettingsError, msgspec.ValidationError) as error:
            log.warning(f"{type_.__name__.removesuffix('Config')} skipped", file=str(file), error=str(error))
    return loaded


def _read(file: Path, type_: type[T]) -> tuple[str, T]:
    raw: Any = read_yaml(file)
    if not isinstance(raw, dict):
        raise SettingsError("expected a map with an id, found nothing of the kind")
    document = cast("dict[str, Any]", raw)
    resource_id = document.get("id")
    if not isinstance(resource_id, str) or not 1 <= len(resource_id) <= 36:
        raise SettingsError("id: a text of 1 to 36 characters is required")
    if type_ is ProviderConfig and isinstance(document.get("runtime"), dict):
        document = {**document, "runtime": normal_runtime(document["runtime"])}
    config = convert(document, type_)
    failures = list(failed_rules(config, type_.__name__))
    # The contract lets provider files go without a name; their id serves.
    failures = [f for f in failures if (type_, f.path) != (ProviderConfig, "ProviderConfig.name")]
    if failures:
        raise SettingsError(describe(failures))
    return resource_id, config


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
