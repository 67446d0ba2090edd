"""SQL for lists of jobs."""

from __future__ import annotations

from evalhub_server.models.common import State
from evalhub_server.plugins import JobQuery, Terms
from evalhub_server.plugins.queries import single
from evalhub_storage_sqlite.terms import Clauses, ListQuery, first_searchable, given, marks, several

_BY_SELECTIVITY = ("experiment_id", "name", "owner", "state")
"""The first of these that is asked for chooses the index."""


def build(query: JobQuery) -> ListQuery | None:
    """Return the SQL for a list, or None if no job can match."""
    filters = given(
        {
            "experiment_id": single(query.experiment_id),
            "name": single(query.name),
            "owner": single(query.owner),
            "state": _states(single(query.status)),
            "tags": several(query.tags),
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
        clauses.source = f"jobs j INDEXED BY {_index(filters, query.tenant)}"
        if tags is not None:
            clauses.add(
                f"NOT EXISTS (SELECT 1 FROM job_tags u WHERE u.tag IN ({marks(tags)})"  # noqa: S608 - question marks
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
            "(SELECT DISTINCT created_at, id, seq, tenant FROM job_tags"  # noqa: S608 - question marks
            f" WHERE tag IN ({marks(tags)})) t"
        )
        clauses.parameters.extend(tags.values)
    if with_jobs:
        clauses.source += " CROSS JOIN jobs j ON j.seq = t.seq"  # CROSS fixes the order: tags first


def _index(filters: dict[str, Terms], tenant: str | None) -> str:
    lead = first_searchable(filters, _BY_SELECTIVITY) or "time"
    if lead == "experiment_id":
        return "jobs_experiment"
    if lead == "owner":
        return "jobs_owner"
    return f"jobs_{lead}" if tenant is None else f"jobs_tenant_{lead}"


def _states(terms: Terms | None) -> Terms | None:
    """Turn "not these states" into "one of the others", for which there is an index."""
    if terms is None or not terms.negated or not terms.values:
        return terms
    return Terms(values=tuple(state.value for state in State if state.value not in terms.values))
