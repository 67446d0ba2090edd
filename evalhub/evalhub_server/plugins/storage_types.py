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

    ``tenant`` None selects all tenants. ``limit`` and ``offset`` are not negative. A job must match all filters; None is no
    filter. They compare these values of a job:

    * ``status``: ``job.state``; ``owner``: ``job.owner``; ``tags``: ``job.request.tags``
    * ``name`` and ``name_prefix`` (at most 100 characters): ``job.request.name``
    * ``experiment_id``: ``job.experiment.id``, or an empty text without an experiment
    * ``labels``: the values in :attr:`JobRecord.labels` by the same key; a job has none for other keys
    * ``pinned``: ``job.progress.pinned``
    * ``created_after`` (includes that moment) and ``created_before`` (does not): ``job.created_at``

    ``sort`` is by ``job.created_at``, ``job.request.name`` (by code point), ``job.duration_s`` or ``job.score``. Ties are sorted by
    ``created_at`` and then by id, all in the direction of ``descending``. Jobs without a duration or score come last in either direction.
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
    system's, False all others. ``limit`` and ``offset`` are not negative. The filters compare these values of a record:

    * ``name``: ``record.config.name``; ``owner``: ``record.owner``
    * ``category``: ``record.config.category`` of a collection, an empty text for others
    * ``labels``: the values of :func:`resource_labels` by the same key; a resource has none for other keys

    ``sort``:

    * ``created_at``, ``updated_at``: the field of the record
    * ``name``: ``record.config.name``, by code point
    * ``curation_order``: of a collection, ``record.config.curation_order`` and then ``record.pinned_order``, both in the direction of
      ``descending``. Zero means unranked and comes last in either direction; others are unranked
    * ``catalog``: the system's resources before all others, and then ``curation_order`` ascending, in either direction

    Ties are sorted by ``created_at`` descending, then id ascending, in either direction.
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
