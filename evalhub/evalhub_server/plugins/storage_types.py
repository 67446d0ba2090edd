"""Types of the storage contract: changes, queries and pages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Literal

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource, Kind

JobChange = Callable[[JobRecord], JobRecord | None]
"""A pure function that returns the changed record; the same object or None leaves it unchanged."""

ResourceChange = Callable[[AnyResource], AnyResource | None]
"""Like :data:`JobChange`, for a provider or collection."""


OnRecord = Callable[[JobRecord | AnyResource], object]
"""What :meth:`Storage.examine` calls with each record."""

Sort = Literal["created_at", "updated_at", "name", "curation_order", "catalog"]
"""Sort keys of :class:`ResourceQuery`."""


class Terms(Struct, kw_only=True, frozen=True):
    """One filter. A record matches if its field has any of ``values``; ``every``: all of them; ``negated``: none.

    ``every`` with several values matches nothing on a field that has one value.
    """

    values: tuple[str, ...]
    every: bool = False
    negated: bool = False

    def allows(self, values: Collection[str]) -> bool:
        """Whether a record matches whose field has ``values``."""
        found = [value in values for value in self.values]
        if self.negated:
            return not any(found)
        return all(found) if self.every else any(found)


JobSort = Literal["created_at", "name", "duration", "score"]
"""Sort keys of :class:`JobQuery`."""


class JobQuery(Struct, kw_only=True, frozen=True):
    """A page of a list of jobs, by default the newest first.

    ``tenant`` None selects all tenants. ``limit`` and ``offset`` are not negative. A job must match all filters.
    ``labels`` has filters by the keys of :attr:`JobRecord.labels`; a job has no values for other keys. ``name_prefix`` is at
    most 100 characters long. ``created_after`` includes that moment, ``created_before`` does not.

    Ties of ``sort`` are sorted by ``created_at`` and then by id, all in the direction of ``descending``. Names are compared by
    code point. Jobs without a duration or score come last in either direction.
    """

    tenant: str | None = None
    limit: int = 50
    offset: int = 0
    status: Terms | None = None
    name: Terms | None = None
    tags: Terms | None = None
    owner: Terms | None = None
    experiment_id: Terms | None = None
    labels: dict[str, Terms] = {}
    name_prefix: str = ""
    created_after: datetime | None = None
    created_before: datetime | None = None
    pinned: bool | None = None
    sort: JobSort = "created_at"
    descending: bool = True


class JobPage(Struct, kw_only=True, frozen=True):
    """``items`` of the page, and ``total_count`` of all records that match the query."""

    items: list[JobRecord]
    total_count: int


JobFacetName = Literal[
    "status",
    "owner",
    "tags",
    "model_name",
    "model_url",
    "provider_id",
    "benchmark_id",
    "collection_id",
    "experiment_name",
]
"""Properties of jobs that :meth:`Storage.count_jobs` counts by; each has the name of its filter."""


class JobCounts(Struct, kw_only=True, frozen=True):
    """How many jobs were counted, and for each facet how many of them have each value, without empty values."""

    jobs: int
    values: dict[str, dict[str, int]]


class ResourceQuery(Struct, kw_only=True, frozen=True):
    """A page of a list of providers or collections. A resource must match all filters.

    ``tenant`` None selects all resources; otherwise that tenant's and the system's. ``system`` True selects only the
    system's, False all others. ``category`` of a provider is empty. ``labels`` has filters by the keys of
    :func:`resource_labels`; a resource has no values for other keys.

    ``sort`` compares names by code point. ``curation_order`` sorts by that and then by ``pinned_order``, both in the
    direction of ``descending``; zero means unranked and comes last in either direction (providers are unranked). ``catalog`` sorts
    the system's resources before all others, and then by ``curation_order`` ascending, in either direction. Ties are
    sorted by ``created_at`` descending, then id ascending, in either direction. ``limit`` and ``offset`` are not negative.
    """

    kind: Kind
    tenant: str | None = None
    limit: int = 50
    offset: int = 0
    system: bool | None = None
    name: Terms | None = None
    owner: Terms | None = None
    category: Terms | None = None
    labels: dict[str, Terms] = {}
    sort: Sort = "created_at"
    descending: bool = True


class ResourcePage(Struct, kw_only=True, frozen=True):
    """``items`` of the page, and ``total_count`` of all records that match the query."""

    items: list[AnyResource]
    total_count: int
