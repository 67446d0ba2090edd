"""Providers and collections as the server keeps them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import SYSTEM_OWNER, ProviderConfig


class Kind(StrEnum):
    """``value`` is the word of the contract's messages."""

    PROVIDER = "provider"
    COLLECTION = "collection"


class ResourceRecord(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What both kinds have in common. System resources come from files: owner ``system``, no tenant, read-only.

    Times are UTC with microseconds.
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
    """A provider as the server keeps it."""

    config: ProviderConfig


class CollectionRecord(ResourceRecord, kw_only=True, frozen=True, omit_defaults=True):
    """``derived_from`` is the id of the collection that this one was cloned from; ``run_count`` counts its jobs.

    ``derived`` has the taxonomy that the providers give for the lists which ``config`` leaves empty, so that filters
    find it; readers get it computed anew (:mod:`evalhub_server.domain.taxonomy`).
    """

    config: CollectionConfig
    derived_from: str = ""
    pinned_order: int = 0
    run_count: int = 0
    derived: dict[str, tuple[str, ...]] = {}


AnyResource = ProviderRecord | CollectionRecord

RECORD_TYPES: dict[Kind, type[AnyResource]] = {
    Kind.PROVIDER: ProviderRecord,
    Kind.COLLECTION: CollectionRecord,
}

TAXONOMY = ("domains", "tasks", "modalities", "industries", "evaluation_targets")
"""Lists of a collection that lists can be filtered by."""


def kind_of(record: AnyResource) -> Kind:
    """Return the kind of a record."""
    return Kind.PROVIDER if isinstance(record, ProviderRecord) else Kind.COLLECTION


def labels(record: AnyResource) -> dict[str, tuple[str, ...]]:
    """The lists that a filter asks for membership in, by their names; ``tags`` for both kinds."""
    if isinstance(record, ProviderRecord):
        return {"tags": record.config.tags}
    config = record.config
    lists = {name: getattr(config, name) or record.derived.get(name, ()) for name in TAXONOMY}
    return {"tags": config.tags, **lists}


def renewed(stored: AnyResource, record: AnyResource) -> AnyResource:
    """Return what the system's ``stored`` resource becomes when its files now say ``record``.

    It keeps its creation time and its runs, and if its config is the same, its time of update too. Where that leaves
    nothing to change, it is ``stored`` itself.
    """
    kept: dict[str, Any] = {"created_at": stored.created_at}
    if isinstance(stored, CollectionRecord):
        kept["run_count"] = stored.run_count
    if record.config == stored.config:
        kept |= {"config": stored.config, "updated_at": stored.updated_at}
    after = msgspec.structs.replace(record, **kept)
    return stored if after == stored else after
