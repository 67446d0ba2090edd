"""Counts of jobs by the values of their properties.

The newest jobs that match are found by the SQL of lists, so in the order of an index; their values are then looked up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.plugins import JobCounts, JobFacetName, JobQuery
from evalhub_storage_sqlite.sql_builder import build_job_list

_COLUMNS = {"status": "state", "owner": "owner"}


class CountQueries(Struct, kw_only=True, frozen=True):
    """``columns`` returns rows of the values of ``column_facets`` and the number of jobs, all together without such a facet.

    ``labels`` returns rows of label, value and number of jobs; it is empty if no such facet is wanted.
    """

    columns: str
    column_facets: tuple[JobFacetName, ...]
    labels: str
    parameters: tuple[Any, ...]


def build_job_counts(query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> CountQueries | None:
    """Return the SQL, or None if no job can match."""
    newest = build_job_list(
        replace(query, sort="created_at", descending=True, limit=max_jobs, offset=0), column="seq"
    )
    if newest is None:
        return None
    column_facets: tuple[JobFacetName, ...] = tuple([facet for facet in facets if facet in _COLUMNS])
    columns = ", ".join(f"j.{_COLUMNS[facet]}" for facet in column_facets)
    labels = ", ".join(f"'{facet}'" for facet in facets if facet not in _COLUMNS)
    return CountQueries(
        columns=f"SELECT {columns}, count(*) FROM ({newest.page}) s CROSS JOIN jobs j ON j.seq = s.seq GROUP BY {columns}"  # noqa: S608 - our names
        if columns
        else f"SELECT count(*) FROM ({newest.page})",  # noqa: S608 - our names
        column_facets=column_facets,
        labels=f"SELECT u.label, u.value, count(*) FROM ({newest.page}) s"  # noqa: S608 - our names
        " CROSS JOIN job_labels u INDEXED BY job_labels_seq ON u.seq = s.seq"
        f" WHERE u.label IN ({labels}) AND u.value <> '' GROUP BY u.label, u.value"
        if labels
        else "",
        parameters=(*newest.parameters, *newest.bounds),
    )


def count_jobs(
    connection: sqlite3.Connection, queries: CountQueries, facets: Sequence[JobFacetName]
) -> JobCounts:
    """Run the queries."""
    jobs = 0  # every job is in one row of `columns`
    values: dict[str, dict[str, int]] = {facet: {} for facet in facets}
    for *found, count in connection.execute(queries.columns, queries.parameters):
        jobs += count
        for facet, value in zip(queries.column_facets, found, strict=True):
            if value:
                values[facet][value] = values[facet].get(value, 0) + count
    if queries.labels:
        for facet, value, count in connection.execute(queries.labels, queries.parameters):
            values[facet][value] = count
    return JobCounts(jobs=jobs, values=values)
