"""A page of the list of jobs in responses."""

from __future__ import annotations

from msgspec import Struct

from evalhub_server.models.common import Link
from evalhub_server.models.job import JobResource
from evalhub_server.models.sample import FacetValue


class JobFacet(Struct, kw_only=True, frozen=True):
    """The values of one property, most frequent first, counted over the jobs that all other filters select.

    Only the newest 5,000 of these jobs are counted; ``jobs`` is their number. ``values`` has at most 100; ``distinct`` is the
    number of all. A job with several tags, providers or benchmarks counts for each of them. Each value is one for the
    filter that has the name of the facet.
    """

    name: str
    jobs: int
    distinct: int
    values: tuple[FacetValue, ...] = ()


class JobResourcePage(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One page of jobs. ``first`` is the page's own URL; the last page has no ``next``. ``facets`` are the requested ones."""

    first: Link
    next: Link | None = None
    limit: int
    total_count: int
    items: list[JobResource]
    facets: tuple[JobFacet, ...] = ()
