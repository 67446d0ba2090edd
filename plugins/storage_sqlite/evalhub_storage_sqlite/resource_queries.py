"""SQL for lists of providers and collections."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec.structs import astuple

from evalhub_server.models.provider import SYSTEM_OWNER
from evalhub_server.plugins import ResourceQuery, Terms
from evalhub_server.plugins.queries import RESOURCE_ORDERS, single
from evalhub_storage_sqlite.terms import Clauses, ListQuery, first_searchable, given, marks, several

_BY_SELECTIVITY = ("name", "category", "owner")
"""The first of these that is asked for chooses the index, unless there are labels."""

_LABELLED = "SELECT seq FROM resource_labels WHERE label = ? AND value IN ({marks})"


def build_resources(query: ResourceQuery) -> ListQuery | None:
    """Return the SQL for a list, or None if nothing can match."""
    filters = given(
        {"name": single(query.name), "category": single(query.category), "owner": single(query.owner)}
    )
    labels = given({label: several(terms) for label, terms in query.labels.items()})
    if filters is None or labels is None:
        return None
    index = _index(query, filters, labels)
    clauses = Clauses(source=f"resources r {index}")
    clauses.add("r.kind = ?", (query.kind.value,))
    _add_audience(clauses, query, by_tenant=index.endswith("_tenant"))
    for name, terms in filters.items():
        clauses.add_in(f"r.{name}", terms)
    for label, terms in labels.items():
        _add_label(clauses, label, terms)
    return clauses.query("r.id", RESOURCE_ORDERS[query.sort, query.descending], query)


def key_of(query: ResourceQuery) -> Hashable:
    """Return what the answer to the query can be remembered under."""
    return (*(value for value in astuple(query) if value is not query.labels), *query.labels.items())


def _index(query: ResourceQuery, filters: dict[str, Terms], labels: dict[str, Terms]) -> str:
    if first_searchable(labels, labels):
        return "NOT INDEXED"  # found by key, from the labels
    column = first_searchable(filters, _BY_SELECTIVITY)
    if column is None and query.system:
        column = "owner"
    if column is None and query.tenant is not None:
        column = "tenant"
    return f"INDEXED BY resources_{column or query.sort}"


def _add_audience(clauses: Clauses, query: ResourceQuery, *, by_tenant: bool) -> None:
    """Whose they are: the tenant's, the system's, or both."""
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
    if by_tenant:  # two stretches of the index: the system's have no tenant
        clauses.add("r.tenant IN ('', ?)", (query.tenant,))
    clauses.add(f"(r.tenant = ? OR {system})", (query.tenant,))


def _add_label(clauses: Clauses, label: str, terms: Terms) -> None:
    if terms.every and not terms.negated:
        for value in terms.values:
            clauses.add(f"r.seq IN ({_LABELLED.format(marks='?')})", (label, value))
    else:
        labelled = _LABELLED.format(marks=marks(terms))
        clauses.add(f"r.seq {'NOT IN' if terms.negated else 'IN'} ({labelled})", (label, *terms.values))
