"""SQL builder for lists of jobs, providers and collections.

The index is named in the query (``INDEXED BY``): without statistics SQLite guesses which of several filters
is selective, and a wrong guess reads every record of a tenant. SQLite refuses a query whose index does not fit, so a
mistake here fails the tests instead of slowing the server.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from msgspec import Struct, field
from msgspec.structs import astuple

from evalhub_server.plugins import (
    RESOURCE_ORDERS,
    SYSTEM_OWNER,
    JobQuery,
    ResourceQuery,
    State,
    Terms,
    single,
)
from evalhub_storage_sqlite.columns import MAX_INTEGER


class ListQuery(Struct, kw_only=True, frozen=True):
    """A count and a page query with the same ``parameters``; ``page`` takes limit and offset (``bounds``) in addition."""

    count: str
    page: str
    parameters: tuple[str, ...]
    bounds: tuple[int, int]


class Clauses(Struct, kw_only=True):
    """``FROM`` source and ``WHERE`` conditions of a query, with their parameters."""

    source: str = ""
    where: list[str] = field(default_factory=list[str])
    parameters: list[str] = field(default_factory=list[str])

    def add(self, clause: str, values: tuple[str, ...] = ()) -> None:
        self.where.append(clause)
        self.parameters.extend(values)

    def add_in(self, column: str, terms: Terms) -> None:
        self.add(f"{column} {'NOT IN' if terms.negated else 'IN'} ({placeholders(terms)})", terms.values)

    def query(self, record_id: str, order: str, page: JobQuery | ResourceQuery) -> ListQuery:
        body = f"FROM {self.source}" + (f" WHERE {' AND '.join(self.where)}" if self.where else "")
        return ListQuery(
            count=f"SELECT count(*) {body}",
            page=f"SELECT {record_id} {body} ORDER BY {order} LIMIT ? OFFSET ?",
            parameters=tuple(self.parameters),
            bounds=(min(page.limit, MAX_INTEGER), min(page.offset, MAX_INTEGER)),
        )


def active_filters(columns: dict[str, Terms | None]) -> dict[str, Terms] | None:
    """Return the filters that restrict the list; None if nothing can match."""
    found = {name: terms for name, terms in columns.items() if terms is not None}
    if any(not terms.values and not terms.negated for terms in found.values()):
        return None
    return {name: terms for name, terms in found.items() if terms.values}


def first_searchable(filters: dict[str, Terms], order: Iterable[str]) -> str | None:
    """Return the first name whose filter an index can look up, i.e. one that is not negated."""
    return next((name for name in order if name in filters and not filters[name].negated), None)


def normalized_values(terms: Terms | None) -> Terms | None:
    """Normalise a filter on a property with several values, such as tags."""
    if terms is None or (terms.every and not terms.negated and not terms.values):
        return None
    values = tuple(dict.fromkeys(terms.values))
    # A single value reads the index in the order of the page, for "any" and "every" alike.
    return Terms(values=values, every=terms.every or len(values) == 1, negated=terms.negated)


def placeholders(terms: Terms) -> str:
    return ", ".join("?" * len(terms.values))


_JOB_FILTERS_BY_SELECTIVITY = ("experiment_id", "name", "owner", "state")
"""The first of these with a filter determines the index."""


def build_job_list(query: JobQuery) -> ListQuery | None:
    """Return the SQL for a list, or None if no job can match."""
    filters = active_filters(
        {
            "experiment_id": single(query.experiment_id),
            "name": single(query.name),
            "owner": single(query.owner),
            "state": _states(single(query.status)),
            "tags": normalized_values(query.tags),
        }
    )
    if filters is None:
        return None
    tags = filters.pop("tags", None)
    clauses = Clauses()
    if tags is not None and not tags.negated:
        lead = "t"
        _from_tags(clauses, tags, with_jobs=bool(filters))
    else:
        lead = "j"
        clauses.source = f"jobs j INDEXED BY {_job_index(filters, query.tenant)}"
        if tags is not None:
            clauses.add(
                f"NOT EXISTS (SELECT 1 FROM job_tags u WHERE u.tag IN ({placeholders(tags)})"  # noqa: S608 - question placeholders
                f" AND u.created_at = j.created_at AND u.id = j.id)",
                tags.values,
            )
    if query.tenant is not None:
        clauses.add(f"{lead}.tenant = ?", (query.tenant,))
    for name, terms in filters.items():
        clauses.add_in(f"j.{name}", terms)
    return clauses.query(f"{lead}.id", f"{lead}.created_at DESC, {lead}.id DESC", query)


def _from_tags(clauses: Clauses, tags: Terms, *, with_jobs: bool) -> None:
    first, *others = tags.values
    if tags.every:
        clauses.source = "job_tags t"
        clauses.add("t.tag = ?", (first,))
        for tag in others:
            clauses.add(
                "EXISTS (SELECT 1 FROM job_tags u WHERE u.tag = ? AND u.created_at = t.created_at AND u.id = t.id)",
                (tag,),
            )
    else:
        clauses.source = (
            "(SELECT DISTINCT created_at, id, seq, tenant FROM job_tags"  # noqa: S608 - question placeholders
            f" WHERE tag IN ({placeholders(tags)})) t"
        )
        clauses.parameters.extend(tags.values)
    if with_jobs:
        clauses.source += " CROSS JOIN jobs j ON j.seq = t.seq"  # CROSS fixes the order: tags first


def _job_index(filters: dict[str, Terms], tenant: str | None) -> str:
    lead = first_searchable(filters, _JOB_FILTERS_BY_SELECTIVITY) or "time"
    if lead == "experiment_id":
        return "jobs_experiment"
    if lead == "owner":
        return "jobs_owner"
    return f"jobs_{lead}" if tenant is None else f"jobs_tenant_{lead}"


def _states(terms: Terms | None) -> Terms | None:
    """Convert "not these states" to "one of the others", for which there is an index."""
    if terms is None or not terms.negated or not terms.values:
        return terms
    return Terms(values=tuple(state.value for state in State if state.value not in terms.values))


_RESOURCE_FILTERS_BY_SELECTIVITY = ("name", "category", "owner")
"""The first of these with a filter determines the index, unless there are labels."""

_LABELLED = "SELECT seq FROM resource_labels WHERE label = ? AND value IN ({placeholders})"


def build_resource_list(query: ResourceQuery) -> ListQuery | None:
    """Return the SQL for a list, or None if nothing can match."""
    filters = active_filters(
        {"name": single(query.name), "category": single(query.category), "owner": single(query.owner)}
    )
    labels = active_filters({label: normalized_values(terms) for label, terms in query.labels.items()})
    if filters is None or labels is None:
        return None
    index = _resource_index(query, filters, labels)
    clauses = Clauses(source=f"resources r {index}")
    clauses.add("r.kind = ?", (query.kind.value,))
    _add_visibility(clauses, query, by_tenant=index.endswith("_tenant"))
    for name, terms in filters.items():
        clauses.add_in(f"r.{name}", terms)
    for label, terms in labels.items():
        _add_label(clauses, label, terms)
    return clauses.query("r.id", RESOURCE_ORDERS[query.sort, query.descending], query)


def cache_key(query: ResourceQuery) -> Hashable:
    """Return the key of the query in the listing cache."""
    return (*(value for value in astuple(query) if value is not query.labels), *query.labels.items())


def _resource_index(query: ResourceQuery, filters: dict[str, Terms], labels: dict[str, Terms]) -> str:
    if first_searchable(labels, labels):
        return "NOT INDEXED"  # found by key, from the labels
    column = first_searchable(filters, _RESOURCE_FILTERS_BY_SELECTIVITY)
    if column is None and query.system:
        column = "owner"
    if column is None and query.tenant is not None:
        column = "tenant"
    # The catalogue's order differs from that of this index only in the system's resources, which come first.
    sort = "curation_order" if query.sort == "catalog" else query.sort
    return f"INDEXED BY resources_{column or sort}"


def _add_visibility(clauses: Clauses, query: ResourceQuery, *, by_tenant: bool) -> None:
    """Restrict to resources of the tenant, of the system, or of both."""
    system = f"r.owner = '{SYSTEM_OWNER}'"
    if query.system:
        clauses.add(system)
        return
    if query.system is False:
        clauses.add(f"NOT {system}")
    if query.tenant is None:
        return
    if query.system is False:
        clauses.add("r.tenant = ?", (query.tenant,))
        return
    if by_tenant:  # two ranges of the index: system resources have no tenant
        clauses.add("r.tenant IN ('', ?)", (query.tenant,))
    clauses.add(f"(r.tenant = ? OR {system})", (query.tenant,))


def _add_label(clauses: Clauses, label: str, terms: Terms) -> None:
    if terms.every and not terms.negated:
        for value in terms.values:
            clauses.add(f"r.seq IN ({_LABELLED.format(placeholders='?')})", (label, value))
    else:
        labelled = _LABELLED.format(placeholders=placeholders(terms))
        clauses.add(f"r.seq {'NOT IN' if terms.negated else 'IN'} ({labelled})", (label, *terms.values))
