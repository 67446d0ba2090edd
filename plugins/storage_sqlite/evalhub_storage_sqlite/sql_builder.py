"""SQL builder for lists of jobs, providers and collections.

The index is named in the query (``INDEXED BY``): without statistics SQLite guesses which of several filters
is selective, and a wrong guess reads every record of a tenant. SQLite refuses a query whose index does not fit, so a
mistake here fails the tests instead of slowing the server.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from msgspec import Struct, field
from msgspec.structs import astuple, replace

from evalhub_server.plugins import (
    RESOURCE_ORDERS,
    SYSTEM_OWNER,
    JobQuery,
    ResourceQuery,
    State,
    Terms,
    prefix_end,
    single,
)
from evalhub_storage_sqlite.columns import MAX_INTEGER, microseconds

Value = str | int
"""A parameter of a query."""


class ListQuery(Struct, kw_only=True, frozen=True):
    """A count and a page query with the same ``parameters``; ``page`` takes limit and offset (``bounds``) in addition."""

    count: str
    page: str
    parameters: tuple[Value, ...]
    bounds: tuple[int, int]


class Clauses(Struct, kw_only=True):
    """``FROM`` source and ``WHERE`` conditions of a query, with their parameters."""

    source: str = ""
    where: list[str] = field(default_factory=list[str])
    parameters: list[Value] = field(default_factory=list[Value])

    def add(self, clause: str, values: tuple[Value, ...] = ()) -> None:
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


_JOB_FILTERS_BY_SELECTIVITY = (
    *(
        "experiment_id",
        "name",
        "derived_from",
        "lineage",
        "tags",
        "experiment_name",
        "collection_id",
        "benchmark_id",
    ),
    *("model_url", "model_name", "owner", "provider_id", "state"),
)
"""The first of these with a filter determines the index."""

_WITH_EMPTY = ("name", "state")
"""Columns whose indices have empty values, too. Those of tenants, owners and experiments do not."""

_JOB_ORDERS: dict[tuple[str, bool], str] = {
    ("created_at", False): "{lead}.created_at, {lead}.id",
    ("created_at", True): "{lead}.created_at DESC, {lead}.id DESC",
    ("name", False): "j.name, j.created_at, j.id",
    ("name", True): "j.name DESC, j.created_at DESC, j.id DESC",
} | {
    (sort, descending): order.replace("KEY", f"j.{sort}")
    for sort in ("duration", "score")
    for descending, order in (
        (False, "KEY NULLS LAST, j.created_at, j.id"),
        (True, "KEY DESC, j.created_at DESC, j.id DESC"),
    )
}


def build_job_list(query: JobQuery, column: str = "id") -> ListQuery | None:
    """Return the SQL for a list, or None if no job can match. ``column`` is what a page has of each job: ``id`` or ``seq``."""
    columns = active_filters(
        {
            "experiment_id": single(query.experiment_id),
            "name": single(query.name),
            "owner": single(query.owner),
            "state": _states(single(query.status)),
        }
    )
    labels = active_filters(
        {label: normalized_values(terms) for label, terms in {"tags": query.tags, **query.labels}.items()}
    )
    if columns is None or labels is None:
        return None
    total = _sum(query, columns, labels)
    clauses = Clauses()
    indexed = {
        name: terms for name, terms in columns.items() if name in _WITH_EMPTY or "" not in terms.values
    }
    lead = first_searchable(indexed | labels, _JOB_FILTERS_BY_SELECTIVITY)
    if lead in labels:
        alias = "l"
        states = columns.pop("state", None)
        with_jobs = bool(
            columns or query.name_prefix or query.pinned is not None or query.sort != "created_at"
        )
        _from_labels(clauses, lead, labels.pop(lead), with_jobs=with_jobs)
        if states is not None:
            _add_states(clauses, states)
    else:
        alias = "j"
        _from_jobs(clauses, query, lead)
    for label, terms in labels.items():
        _add_job_label(clauses, alias, label, terms)
    if query.tenant is not None:
        clauses.add(f"{alias}.tenant = ?", (query.tenant,))
    for name, terms in columns.items():
        clauses.add_in(f"j.{name}", terms)
    _add_ranges(clauses, alias, query)
    found = clauses.query(
        f"{alias}.{column}", _JOB_ORDERS[query.sort, query.descending].format(lead=alias), query
    )
    return replace(found, count=total) if total is not None else found


def _sum(query: JobQuery, columns: dict[str, Terms], labels: dict[str, Terms]) -> str | None:
    """Return the SQL of the total from stored counts, with the parameters of the list; None if the jobs must be counted.

    Counts are stored by tenant and state, and by tenant and value of a label.
    """
    if _has_ranges(query):
        return None
    clauses = Clauses(source="job_counts c")
    if labels:
        terms, *more = labels.values()
        if columns or more or len(terms.values) > 1 or terms.negated:
            return None
        clauses.source = "job_label_counts c"
        clauses.add("c.label = ? AND c.value = ?")
    elif columns.keys() - {"state"}:
        return None
    if query.tenant is not None:
        clauses.add("c.tenant = ?")
    if "state" in columns:
        clauses.add_in("c.state", columns["state"])
    where = f" WHERE {' AND '.join(clauses.where)}" if clauses.where else ""
    return f"SELECT coalesce(sum(c.jobs), 0) FROM {clauses.source}{where}"  # noqa: S608 - question placeholders


def _has_ranges(query: JobQuery) -> bool:
    return bool(query.name_prefix or query.created_after or query.created_before or query.pinned is not None)


def _from_labels(clauses: Clauses, label: str, terms: Terms, *, with_jobs: bool) -> None:
    first, *others = terms.values
    if terms.every:
        clauses.source = "job_labels l"
        clauses.add("l.label = ? AND l.value = ?", (label, first))
        if others:
            _add_job_label(clauses, "l", label, Terms(values=tuple(others), every=True))
    else:
        clauses.source = (
            "(SELECT DISTINCT created_at, id, seq, tenant FROM job_labels"  # noqa: S608 - question placeholders
            f" WHERE label = ? AND value IN ({placeholders(terms)})) l"
        )
        clauses.parameters.extend((label, *terms.values))
    if with_jobs:
        clauses.source += " CROSS JOIN jobs j ON j.seq = l.seq"  # CROSS fixes the order: labels first


def _add_states(clauses: Clauses, states: Terms) -> None:
    """Require a state of the jobs of ``l``, by an index in the same order: reading the job of each label is ten times slower."""
    clauses.add(
        f"EXISTS (SELECT 1 FROM jobs s INDEXED BY jobs_state WHERE s.state IN ({placeholders(states)})"  # noqa: S608 - question placeholders
        " AND s.created_at = l.created_at AND s.id = l.id)",
        states.values,
    )


def _add_job_label(clauses: Clauses, alias: str, label: str, terms: Terms) -> None:
    """Require the label of the job that ``alias`` is about."""
    required = terms.every and not terms.negated
    for each in [replace(terms, values=(value,)) for value in terms.values] if required else [terms]:
        clauses.add(
            f"{'NOT ' if each.negated else ''}EXISTS (SELECT 1 FROM job_labels u WHERE u.label = ?"  # noqa: S608 - question placeholders
            f" AND u.value IN ({placeholders(each)}) AND u.created_at = {alias}.created_at AND u.id = {alias}.id)",
            (label, *each.values),
        )


def _add_ranges(clauses: Clauses, alias: str, query: JobQuery) -> None:
    if query.name_prefix:
        clauses.add("j.name >= ?", (query.name_prefix,))
        if (end := prefix_end(query.name_prefix)) is not None:
            clauses.add("j.name < ?", (end,))
    if query.created_after is not None:
        clauses.add(f"{alias}.created_at >= ?", (microseconds(query.created_after),))
    if query.created_before is not None:
        clauses.add(f"{alias}.created_at < ?", (microseconds(query.created_before),))
    if query.pinned is not None:
        clauses.add(f"j.is_pinned = {int(query.pinned)}")  # not a parameter, so that the index fits


def _from_jobs(clauses: Clauses, query: JobQuery, lead: str | None) -> None:
    index = _job_index(query, lead)
    clauses.source = f"jobs j INDEXED BY {index}"
    if index.startswith("jobs_tenant_"):
        clauses.add("j.tenant <> ''")  # not a parameter, so that the index fits
    elif lead is not None and lead not in _WITH_EMPTY:
        clauses.add(f"j.{lead} <> ''")


def _job_index(query: JobQuery, lead: str | None) -> str:
    if lead in ("experiment_id", "owner"):
        return f"jobs_{lead.removesuffix('_id')}"
    if lead is None and query.pinned:
        return "jobs_pinned"
    if lead is None and query.tenant is None and query.sort in ("duration", "score"):
        return f"jobs_{query.sort}"
    if lead is None:
        lead = "name" if query.name_prefix or query.sort == "name" else "time"
    return f"jobs_tenant_{lead}" if query.tenant else f"jobs_{lead}"


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


def cache_key(query: JobQuery | ResourceQuery) -> Hashable:
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
