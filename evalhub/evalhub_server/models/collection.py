"""A collection: benchmarks of one or more providers that are run and scored together."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Struct

from evalhub_server.models.common import Json, PassCriteria
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import Agent
from evalhub_server.models.rules import REQUIRED, TAG_NAME, max_length, minimum


class CollectionConfig(Struct, kw_only=True, frozen=True, omit_defaults=True):
    name: Annotated[str, REQUIRED] = ""
    category: Annotated[str, REQUIRED, max_length(128)] = ""
    description: Annotated[str, max_length(1024)] = ""
    tags: tuple[Annotated[str, TAG_NAME], ...] = ()
    custom: Json | None = None
    pass_criteria: PassCriteria | None = None
    benchmarks: Annotated[tuple[BenchmarkRef, ...], REQUIRED] = ()
    agent: Agent | None = None
    curation_order: Annotated[int, minimum(0)] = 0
    domains: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    evaluation_targets: tuple[str, ...] = ()


class Collection(Struct, kw_only=True, frozen=True):
    """A collection as the engine knows it."""

    id: str
    updated_at: datetime
    config: CollectionConfig
