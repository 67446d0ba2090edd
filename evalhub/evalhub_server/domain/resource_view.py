"""The provider and collection resources that clients read, made from records."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from evalhub_server.domain.resource import AnyResource, CollectionRecord, ProviderRecord
from evalhub_server.domain.taxonomy import Offered, derived_taxonomy, with_urls
from evalhub_server.models.collection import CollectionConfig, CollectionResource, CollectionStatus
from evalhub_server.models.provider import Provider, ResourceInfo


def provider_resource(record: ProviderRecord) -> Provider:
    config = record.config
    return Provider(
        resource=_info(record),
        name=config.name,
        title=config.title,
        description=config.description or UNSET,
        tags=config.tags or UNSET,
        benchmarks=config.benchmarks,
        runtime=config.runtime or UNSET,
        agent=config.agent or UNSET,
        custom=UNSET if config.custom is None else config.custom,
    )


def collection_resource(record: CollectionRecord, available: Offered) -> CollectionResource:
    """``available`` are the benchmarks that the reader can see; the others have no URL."""
    config = record.config
    own: dict[str, Any] = {name: getattr(config, name) for name in CollectionConfig.__struct_fields__}
    own |= derived_taxonomy(config, available)
    own["benchmarks"] = with_urls(config, available)
    # A clone has a status from the start, like the released server's.
    told = record.run_count or record.derived_from
    return CollectionResource(
        resource=_info(record),
        derived_from=record.derived_from,
        pinned_order=record.pinned_order,
        **own,
        status=CollectionStatus(run_count=record.run_count) if told else None,
    )


def _info(record: AnyResource) -> ResourceInfo:
    return ResourceInfo(
        id=record.id,
        tenant=record.tenant,
        created_at=record.created_at,
        updated_at=record.updated_at,
        owner=record.owner,
    )
