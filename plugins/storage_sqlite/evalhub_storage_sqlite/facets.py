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
    """``total`` counts the jobs; ``by_value`` returns rows of facet, value and number of jobs."""

    total: str
    by_value: list[str]
    parameters: tuple[Any, ...]


def build_job_counts(query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> CountQueries | None:
    """Return the SQL, or None if no job can match."""
    newest = build_job_list(
        replace(query, sort="created_at", descending=True, limit=max_jobs, offset=0), column="seq"
    )
    if newest is None:
        return None
    by_value = [
        f"SELECT '{facet}', j.{column}, count(*) FROM ({newest.page}) s CROSS JOIN jobs j ON j.seq = s.seq"  # noqa: S608 - our names
        f" WHERE j.{column} <> '' GROUP BY j.{column}"
        for facet, column in _COLUMNS.items()
        if facet in facets
    ]
    labels = ", ".join(f"'{facet}'" for facet in facets if facet not in _COLUMNS)
    if labels:
        by_value.append(
            f"SELECT u.label, u.value, count(*) FROM ({newest.page}) s"  # noqa: S608 - our names
            " CROSS JOIN job_labels u INDEXED BY job_labels_seq ON u.seq = s.seq"
            f" WHERE u.label IN ({labels}) AND u.value <> '' GROUP BY u.label, u.value"
        )
    return CountQueries(
        total=f"SELECT count(*) FROM ({newest.page})",  # noqa: S608 - our names
        by_value=by_value,
        parameters=(*newest.parameters, *newest.bounds),
    )


def count_jobs(
    connection: sqlite3.Connection, queries: CountQueries, facets: Sequence[JobFacetName]
) -> JobCounts:
    """Run the queries."""
    (jobs,) = connection.execute(queries.total, queries.parameters).fetchone()
    values: dict[str, dict[str, int]] = {facet: {} for facet in facets}
    for sql in queries.by_value:
        for facet, value, count in connection.execute(sql, queries.parameters):
            values[facet][value] = count
    return JobCounts(jobs=jobs, values=values)
