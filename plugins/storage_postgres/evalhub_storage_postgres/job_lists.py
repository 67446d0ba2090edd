"""Lists of jobs in PostgreSQL, and their totals and counts.

The total of an ordinary list is the sum of few stored numbers, see ``schema.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from evalhub_server.plugins import JobCounts, JobFacetName, JobQuery, prefix_end
from evalhub_storage_postgres.jobs import benchmark_documents
from evalhub_storage_postgres.search import Conditions, label_terms, original, searchable, searchables

_NO_LABELS = ("status", "owner", "tags")


def listing(query: JobQuery) -> tuple[str, list[Any]]:
    """Return the SQL of a list, whose rows end with id, definition, progress and benchmarks; see :meth:`Conditions.listing`."""
    columns, benchmarks = "id, definition, progress", f", {benchmark_documents('page.id')}"
    found = _conditions(query)
    total = _stored_total(query, found)
    return found.listing("evalhub_jobs", columns, _order(query), query, rest=benchmarks, total=total)


def _stored_total(query: JobQuery, listed: Conditions) -> str | None:
    """Return SQL of the total from stored numbers, with parameters of ``listed``; None if the jobs must be counted."""
    if query.name or query.name_prefix or query.owner or query.experiment_id or query.pinned is not None:
        return None
    if query.created_after is not None or query.created_before is not None:
        return None
    filters = {label: terms for label, terms in {"tags": query.tags, **query.labels}.items() if terms}
    if len(filters) > 1 or any(len(terms.values) != 1 or terms.negated for terms in filters.values()):
        return None
    found = Conditions(listed.values)
    term, changes = "''", ""
    for label, terms in filters.items():
        # As the columns have them, where a long tag is shortened without its prefix.
        (value,) = searchables(terms.values) if label == "tags" else label_terms(label, terms.values)
        number = found.parameter(value)
        term = f"'tags=' || {number}" if label == "tags" else number
        changes = f" WHERE {number} = ANY({'tags' if label == 'tags' else 'labels'})"
    if query.tenant is not None:
        found.clauses.append(f"tenant = {found.parameter(searchable(query.tenant))}")
    found.text("state", query.status)
    return (
        "SELECT coalesce(sum(jobs), 0)::bigint AS total FROM ("  # noqa: S608 - values are parameters
        f"SELECT tenant, state, jobs FROM evalhub_job_counts WHERE term = {term} UNION ALL"
        f" SELECT tenant, state, jobs FROM evalhub_job_count_changes{changes}) AS numbers"
        f"{found.where}"
    )


def counting(query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> tuple[str, list[Any]]:
    """Return SQL with rows of facet, value and number of jobs. The number of all jobs is that of an empty facet.

    The facet of a label is ``labels``, and its value includes the name of the label.
    """
    found = _conditions(query)
    parts = ["SELECT '' AS facet, '' AS value, count(*) AS jobs FROM selected"]
    parts += [
        f"SELECT '{column}', {column}, count(*) FROM selected WHERE {column} <> '' GROUP BY {column}"  # noqa: S608 - our names
        for column in ("status", "owner")
        if column in facets
    ]
    if "tags" in facets:
        parts.append(
            "SELECT 'tags', tag, count(*) FROM selected, unnest(tags) tag WHERE tag <> '' GROUP BY tag"
        )
    if labels := [facet for facet in facets if facet not in _NO_LABELS]:
        parts.append(
            "SELECT 'labels', label, count(*) FROM selected, unnest(labels) label"  # noqa: S608 - values are parameters
            f" WHERE split_part(label, '=', 1) = ANY({found.parameter(labels)}::text[]) GROUP BY label"
        )
    selected = (
        f"SELECT state AS status, owner, tags, labels FROM evalhub_jobs{found.where}"  # noqa: S608 - values are parameters
        f" ORDER BY created_at DESC, id DESC LIMIT {found.parameter(max_jobs)}"
    )
    return f"WITH selected AS MATERIALIZED ({selected}) {' UNION ALL '.join(parts)}", found.values


def counts_of(rows: Iterable[Sequence[Any]], facets: Sequence[JobFacetName]) -> JobCounts | None:
    """Return the result of :func:`counting`; None if a value is shortened, so that its text is only in the documents."""
    jobs = 0
    values: dict[str, dict[str, int]] = {facet: {} for facet in facets}
    for name, value, count in rows:
        if not name:
            jobs = count
            continue
        facet, text = (name, value) if name in _NO_LABELS else value.split("=", 1)
        if (whole := original(text)) is None:
            return None
        values[facet][whole] = count
    return JobCounts(jobs=jobs, values=values)


def _conditions(query: JobQuery) -> Conditions:
    found = Conditions()
    if query.tenant is not None:
        found.clauses.append(f"tenant = {found.parameter(searchable(query.tenant))}")
    found.text("state", query.status)
    found.text("name", query.name)
    found.text("owner", query.owner)
    found.text("experiment_id", query.experiment_id)
    if query.tags is not None:
        found.array("tags", searchables(query.tags.values), query.tags)
    for label, terms in query.labels.items():
        found.array("labels", label_terms(label, terms.values), terms)
    if query.name_prefix:
        found.clauses.append(f"name >= {found.parameter(searchable(query.name_prefix))}")
        if (end := prefix_end(query.name_prefix)) is not None:
            found.clauses.append(f"name < {found.parameter(searchable(end))}")
    if query.created_after is not None:
        found.clauses.append(f"created_at >= {found.parameter(query.created_after)}")
    if query.created_before is not None:
        found.clauses.append(f"created_at < {found.parameter(query.created_before)}")
    if query.pinned is not None:
        found.clauses.append("is_pinned" if query.pinned else "NOT is_pinned")
    return found


def _order(query: JobQuery) -> str:
    direction = "DESC" if query.descending else "ASC"
    ties = f"created_at {direction}, id {direction}"
    return ties if query.sort == "created_at" else f"{query.sort} {direction} NULLS LAST, {ties}"
