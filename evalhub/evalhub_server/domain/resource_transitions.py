"""Transitions of providers and collections: create, replace, clone, count a run, check for deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.resource import AnyResource, CollectionRecord, ProviderRecord, kind_of
from evalhub_server.domain.resource_requests import COLLECTION
from evalhub_server.domain.struct_fields import unknown_key
from evalhub_server.domain.taxonomy import VisibleBenchmarks, with_derived, without_echo
from evalhub_server.domain.validation import conform, first_value, parse, validate
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Int64
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.models.rules import max_length


class Creation(Struct, kw_only=True, frozen=True):
    """Id, tenant, owner and time (UTC) of a resource to be created."""

    id: str
    tenant: str = ""
    owner: str = ""
    now: datetime


def new_provider(config: ProviderConfig, creation: Creation) -> ProviderRecord:
    return ProviderRecord(**_common_fields(creation), config=config)


def new_collection(
    config: CollectionConfig, visible: VisibleBenchmarks, creation: Creation
) -> CollectionRecord:
    return with_derived(CollectionRecord(**_common_fields(creation), config=config), visible)


def _common_fields(creation: Creation) -> dict[str, Any]:
    return {
        "id": creation.id,
        "tenant": creation.tenant,
        "owner": creation.owner,
        "created_at": creation.now,
        "updated_at": creation.now,
    }


def check_deletable(record: AnyResource) -> None:
    """Raise ``read_only_provider`` or ``read_only_collection`` for a system resource.

    A curated collection may be deleted: there is no other way to remove it.
    """
    if record.system:
        raise problems.read_only(kind_of(record).value, record.id)


def check_changeable(record: AnyResource) -> None:
    """Raise ``read_only_provider`` or ``read_only_collection`` for system resources and curated collections."""
    if record.system or (isinstance(record, CollectionRecord) and record.config.curation_order > 0):
        raise problems.read_only(kind_of(record).value, record.id)


def replace_provider(record: ProviderRecord, config: ProviderConfig, now: datetime) -> ProviderRecord:
    """Replace the configuration of a provider. Raises ``read_only_provider``."""
    check_changeable(record)
    return replace(record, config=config, updated_at=max(now, record.updated_at))


def replace_collection(
    record: CollectionRecord, config: CollectionConfig, visible: VisibleBenchmarks, now: datetime
) -> CollectionRecord:
    """Replace the configuration of a collection; origin, pin and run count are kept.

    Raises ``read_only_collection``.
    """
    check_changeable(record)
    config = without_echo(config, record.config, visible)
    return with_derived(replace(record, config=config, updated_at=max(now, record.updated_at)), visible)


def with_run_counted(record: CollectionRecord) -> CollectionRecord:
    """Count a job of the collection; ``updated_at`` is unchanged, since the collection itself is."""
    return replace(record, run_count=record.run_count + 1)


class OverridingBenchmark(BenchmarkRef, kw_only=True, frozen=True):
    """A benchmark in the body of a clone request; ``url`` has no effect."""

    url: Any = None


class CloneOverrides(CollectionConfig, kw_only=True, frozen=True):
    """The fields permitted in the body of a clone request; ``curation_order`` has no effect."""

    name: str = ""
    category: Annotated[str, max_length(128)] = ""
    benchmarks: tuple[OverridingBenchmark, ...] = ()
    curation_order: Int64 = 0


def read_overrides(body: bytes) -> CollectionConfig:
    """Decode the body of a clone request: empty, or a partial configuration.

    As in the released server, anything after the first JSON value is ignored. Raises ``invalid_json_request``, also
    for an unknown field at any depth; :func:`clone` checks the rules.
    """
    if not body.strip():
        return CollectionConfig()
    raw = parse(first_value(body))
    if (key := unknown_key(raw, CloneOverrides)) is not None:
        raise problems.invalid_json(f'json: unknown field "{key}"')
    return conform(raw, CollectionConfig)


def clone(
    source: CollectionRecord, overrides: CollectionConfig, visible: VisibleBenchmarks, creation: Creation
) -> CollectionRecord:
    """Copy any collection, with every field that is not empty in ``overrides`` replaced as a whole.

    A clone is neither curated nor pinned. Raises ``request_validation_failed`` for the merged configuration.
    """
    changes = {
        name: value
        for name in CollectionConfig.__struct_fields__
        if (value := getattr(overrides, name)) is not None and value not in ("", ())
    }
    config = replace(source.config, **{**changes, "curation_order": 0})
    validate(config, COLLECTION)
    return replace(new_collection(config, visible, creation), derived_from=source.id)
