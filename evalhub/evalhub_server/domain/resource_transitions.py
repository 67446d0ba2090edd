"""What happens to a provider or a collection: it is created, replaced, cloned, run and deleted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.resource import AnyResource, CollectionRecord, ProviderRecord, kind_of
from evalhub_server.domain.resource_requests import COLLECTION
from evalhub_server.domain.struct_fields import unknown_key
from evalhub_server.domain.taxonomy import Offered, with_derived, without_echo
from evalhub_server.domain.validation import conform, first_value, parse, validate
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import Int64
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.models.rules import max_length


class Creation(Struct, kw_only=True, frozen=True):
    """Who creates what, and when (UTC)."""

    id: str
    tenant: str = ""
    owner: str = ""
    now: datetime


def new_provider(config: ProviderConfig, made: Creation) -> ProviderRecord:
    return ProviderRecord(**_identity(made), config=config)


def new_collection(config: CollectionConfig, available: Offered, made: Creation) -> CollectionRecord:
    return with_derived(CollectionRecord(**_identity(made), config=config), available)


def _identity(made: Creation) -> dict[str, Any]:
    return {
        "id": made.id,
        "tenant": made.tenant,
        "owner": made.owner,
        "created_at": made.now,
        "updated_at": made.now,
    }


def check_deletable(record: AnyResource) -> None:
    """Raise ``read_only_provider`` or ``read_only_collection`` for what comes from files.

    A curated collection may be deleted, since nothing else would get rid of it.
    """
    if record.system:
        raise problems.read_only(kind_of(record).value, record.id)


def check_changeable(record: AnyResource) -> None:
    """Raise ``read_only_provider`` or ``read_only_collection`` for what comes from files and for what is curated."""
    if record.system or (isinstance(record, CollectionRecord) and record.config.curation_order > 0):
        raise problems.read_only(kind_of(record).value, record.id)


def replace_provider(record: ProviderRecord, config: ProviderConfig, now: datetime) -> ProviderRecord:
    """PUT: all but the identity is new. Raises ``read_only_provider``."""
    check_changeable(record)
    return replace(record, config=config, updated_at=now)


def replace_collection(
    record: CollectionRecord, config: CollectionConfig, available: Offered, now: datetime
) -> CollectionRecord:
    """PUT: the configuration is new; identity, origin, pin and count stay. Raises ``read_only_collection``."""
    check_changeable(record)
    config = without_echo(config, record.config, available)
    return with_derived(replace(record, config=config, updated_at=now), available)


def with_run_counted(record: CollectionRecord) -> CollectionRecord:
    """One more job runs the collection. That is no change of it, so ``updated_at`` stays."""
    return replace(record, run_count=record.run_count + 1)


class OverridingBenchmark(BenchmarkRef, kw_only=True, frozen=True):
    """A benchmark of a clone; ``url`` has no effect."""

    url: Any = None


class CloneOverrides(CollectionConfig, kw_only=True, frozen=True):
    """The fields that the body of a clone may have; ``curation_order`` has no effect."""

    name: str = ""
    category: Annotated[str, max_length(128)] = ""
    benchmarks: tuple[OverridingBenchmark, ...] = ()
    curation_order: Int64 = 0


def read_overrides(body: bytes) -> CollectionConfig:
    """The body of a clone: a partial configuration, or nothing. What follows the first JSON value is not read.

    Raises ``invalid_json_request``, also for an unknown field at any depth. Rules are checked by :func:`clone`.
    """
    if not body.strip():
        return CollectionConfig()
    raw = parse(first_value(body))
    if (key := unknown_key(raw, CloneOverrides)) is not None:
        raise problems.invalid_json(f'json: unknown field "{key}"')
    return conform(raw, CollectionConfig)


def clone(
    source: CollectionRecord, overrides: CollectionConfig, available: Offered, made: Creation
) -> CollectionRecord:
    """Copy a collection, system and curated ones too, with whole fields replaced where ``overrides`` are not empty.

    Empty texts and lists mean: as in the source. A clone is neither curated nor pinned.
    Raises ``request_validation_failed`` for the merged configuration.
    """
    given = {
        name: value
        for name in CollectionConfig.__struct_fields__
        if (value := getattr(overrides, name)) is not None and value not in ("", ())
    }
    config = replace(source.config, **{**given, "curation_order": 0})
    validate(config, COLLECTION)
    return replace(new_collection(config, available, made), derived_from=source.id)
