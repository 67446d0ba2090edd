"""Provider and collection records converted to the resources in responses."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from evalhub_server.domain.resource import AnyResource, BaselineRecord, CollectionRecord, ProviderRecord
from evalhub_server.domain.taxonomy import VisibleBenchmarks, derived_taxonomy, with_urls
from evalhub_server.models.baseline import Baseline
from evalhub_server.models.collection import CollectionConfig, CollectionResource, CollectionStatus
from evalhub_server.models.provider import Provider, ResourceInfo, Runnable


def provider_resource(record: ProviderRecord, runnable: Runnable | None = None) -> Provider:
    config = record.config
    return Provider(
        resource=_info(record),
        name=config.name,
        title=config.title,
        description=config.description or UNSET,
        tags=config.tags or UNSET,
        benchmarks=config.benchmarks,
        any_benchmark=config.any_benchmark or UNSET,
        runtime=config.runtime or UNSET,
        agent=config.agent or UNSET,
        custom=UNSET if config.custom is None else config.custom,
        runnable=runnable or UNSET,
    )


def collection_resource(record: CollectionRecord, visible: VisibleBenchmarks) -> CollectionResource:
    """The resource of a collection; benchmarks that are not ``visible`` to the client get no URL."""
    config = record.config
    fields: dict[str, Any] = {name: getattr(config, name) for name in CollectionConfig.__struct_fields__}
    fields |= derived_taxonomy(config, visible)
    fields["benchmarks"] = with_urls(config, visible)
    # As in the released server, a clone has a status even before its first run.
    has_status = record.run_count or record.derived_from
    return CollectionResource(
        resource=_info(record),
        derived_from=record.derived_from,
        pinned_order=record.pinned_order,
        **fields,
        status=CollectionStatus(run_count=record.run_count) if has_status else None,
    )


def baseline_resource(record: BaselineRecord) -> Baseline:
    return Baseline(resource=_info(record), name=record.config.name, job_id=record.config.job_id)


def _info(record: AnyResource) -> ResourceInfo:
    return ResourceInfo(
        id=record.id,
        tenant=record.tenant,
        created_at=record.created_at,
        updated_at=record.updated_at,
        owner=record.owner,
    )
