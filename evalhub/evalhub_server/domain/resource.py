"""Records of providers, collections and baselines, as the server stores them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.models.baseline import BaselineConfig
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER, ProviderConfig


class Kind(StrEnum):
    """The kinds of resources; the values appear in messages of the contract."""

    PROVIDER = "provider"
    COLLECTION = "collection"
    BASELINE = "baseline"


class ResourceRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Fields of all kinds. Times are UTC with microseconds.

    System resources come from files: their owner is ``system``, they have no tenant and are read-only.
    """

    id: str
    tenant: str = ""
    owner: str = ""
    created_at: datetime
    updated_at: datetime

    @property
    def system(self) -> bool:
        return self.owner == SYSTEM_OWNER


class ProviderRecord(ResourceRecord, kw_only=True, frozen=True, omit_defaults=True):
    """A stored provider."""

    config: ProviderConfig


class CollectionRecord(ResourceRecord, kw_only=True, frozen=True, omit_defaults=True):
    """A stored collection.

    ``derived_from`` is the id of the collection that it was cloned from, ``run_count`` the number of its jobs.
    ``derived`` has the taxonomy of the providers for the lists that are empty in ``config``. It is stored for filters
    only: responses compute it (:mod:`evalhub_server.domain.taxonomy`).
    """

    config: CollectionConfig
    derived_from: str = ""
    pinned_order: int = 0
    run_count: int = 0
    derived: dict[str, tuple[str, ...]] = {}

    @property
    def provider_ids(self) -> frozenset[str]:
        """The providers of its benchmarks; they need not exist."""
        return frozenset(benchmark.provider_id for benchmark in self.config.benchmarks)


class BaselineRecord(ResourceRecord, kw_only=True, frozen=True, omit_defaults=True):
    """A stored baseline, a tenant's name for a job. There is at most one for a tenant and name."""

    config: BaselineConfig


AnyResource = ProviderRecord | CollectionRecord | BaselineRecord

RECORD_TYPES: dict[Kind, type[AnyResource]] = {
    Kind.PROVIDER: ProviderRecord,
    Kind.COLLECTION: CollectionRecord,
    Kind.BASELINE: BaselineRecord,
}
_KINDS = {type_: kind for kind, type_ in RECORD_TYPES.items()}

TAXONOMY = ("domains", "tasks", "modalities", "industries", "evaluation_targets")
"""The taxonomy lists of a collection; list requests can filter by them."""


def kind_of(record: AnyResource) -> Kind:
    """Return the kind of a record."""
    return _KINDS[type(record)]


def resource_labels(record: AnyResource) -> dict[str, tuple[str, ...]]:
    """The lists that a filter can match, by name: ``tags``, and the taxonomy of collections. Baselines have none."""
    if isinstance(record, BaselineRecord):
        return {}
    if isinstance(record, ProviderRecord):
        return {"tags": record.config.tags}
    config = record.config
    lists = {name: getattr(config, name) or record.derived.get(name, ()) for name in TAXONOMY}
    return {"tags": config.tags, **lists}


def merge_system_resource(stored: AnyResource, record: AnyResource) -> AnyResource:
    """Update a stored system resource to ``record``, which was read from its file.

    The creation time and the run count are kept, and the update time if the configuration is unchanged. Returns
    ``stored`` itself if nothing changes.
    """
    kept: dict[str, Any] = {"created_at": stored.created_at}
    if isinstance(stored, CollectionRecord):
        kept["run_count"] = stored.run_count
    if record.config == stored.config:
        kept |= {"config": stored.config, "updated_at": stored.updated_at}
    after = msgspec.structs.replace(record, **kept)
    return stored if after == stored else after
