"""The collection resource: benchmarks of one or more providers that are run and scored together."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from evalhub_server.models.common import Int64, Json, PassCriteria
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import Agent, ResourceInfo
from evalhub_server.models.rules import REQUIRED, TAG_NAME, max_length, minimum


class CollectionConfig(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A collection as files and requests define it. ``curation_order`` above 0 marks a curated collection."""

    name: Annotated[str, REQUIRED] = ""
    category: Annotated[str, REQUIRED, max_length(128)] = ""
    description: Annotated[str, max_length(1024)] = ""
    tags: tuple[Annotated[str, TAG_NAME], ...] = ()
    custom: Json | None = None
    pass_criteria: PassCriteria | None = None
    benchmarks: Annotated[tuple[BenchmarkRef, ...], REQUIRED] = ()
    agent: Agent | None = None
    curation_order: Annotated[Int64, minimum(0)] = 0
    domains: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    evaluation_targets: tuple[str, ...] = ()


class CollectionBenchmark(BenchmarkRef, kw_only=True, frozen=True, omit_defaults=True):
    """A benchmark of a collection in responses; ``url`` comes from its provider."""

    url: str = ""


class CollectionStatus(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``run_count`` is the number of jobs that ran the collection."""

    run_count: int = 0


class CollectionResource(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A collection in responses.

    ``derived_from`` is the id of the collection that it was cloned from. A collection with a ``curation_order`` above 0
    is curated: it can no longer be changed.
    """

    resource: ResourceInfo
    derived_from: str = ""
    pinned_order: int = 0
    name: str
    description: str = ""
    category: str
    tags: tuple[str, ...] = ()
    custom: Json | None = None
    pass_criteria: PassCriteria | None = None
    benchmarks: tuple[CollectionBenchmark, ...]
    agent: Agent | None = None
    curation_order: int = 0
    domains: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    evaluation_targets: tuple[str, ...] = ()
    status: CollectionStatus | None = None
