"""SQL for lists.

The index is named in the query (``INDEXED BY``): without statistics SQLite guesses which of several filters
is selective, and a wrong guess reads every job of a tenant. SQLite refuses a query whose index does not fit, so a
mistake here is an error in the tests and not a slow server.
"""

from __future__ import annotations

from msgspec import Struct, field

from evalhub_server.models.common import State
from evalhub_server.plugins import JobQuery, Terms

MAX_INTEGER = 2**63 - 1


class ListQuery(Struct, kw_only=True, frozen=True):
    """Two queries with the same parameters, to which ``page`` adds limit and offset. None of them: no job matches."""

    count: str
    page: str
    parameters: tuple[str, ...]


class _Clauses(Struct, kw_only=True):
    source: str = ""
    where: list[str] = field(default_factory=list[str])
    parameters: list[str] = field(default_factory=list[str])

    def add(self, clause: str, values: tuple[str, ...] = ()) -> None:
        self.where.append(clause)
        self.parameters.extend(values)


def build(query: JobQuery) -> ListQuery | None:
    """Return the SQL for a list, or None if no job can match."""
    columns = {
        # The most selective first: the first one that is not negated chooses the index.
        "experiment_id": _single(query.experiment_id),
        "name": _single(query.name),
        "owner": _single(query.owner),
        "state": _states(_single(query.status)),
    }
    given = {name: terms for name, terms in columns.items() if terms is not None}
    tags = _tags(query.tags)
    if any(not terms.values and not terms.negated for terms in (*given.values(), *([tags] if tags else ()))):
        return None
    given = {name: terms for name, terms in given.items() if terms.values}
    clauses = _Clauses()
    if tags is not None and tags.values and not tags.negated:
        lead = "t"
        _from_tags(clauses, tags, with_jobs=bool(given))
    else:
        lead = "j"
        clauses.source = f"jobs j INDEXED BY {_index(given, query.tenant)}"
        if tags is not None and tags.values:
            clauses.add(
                f"NOT EXISTS (SELECT 1 FROM job_tags u WHERE u.tag IN ({_marks(tags)})"  # noqa: S608 - question marks
                f" AND u.created_at = j.created_at AND u.id = j.id)",
                tags.values,
            )
    if query.tenant is not None:
        clauses.add(f"{lead}.tenant = ?", (query.tenant,))
    for name, terms in given.items():
        clauses.add(f"j.{name} {'NOT IN' if terms.negated else 'IN'} ({_marks(terms)})", terms.values)
    body = f"FROM {clauses.source}" + (f" WHERE {' AND '.join(clauses.where)}" if clauses.where else "")
    return ListQuery(
        count=f"SELECT count(*) {body}",
        page=f"SELECT {lead}.id {body} ORDER BY {lead}.created_at DESC, {lead}.id DESC LIMIT ? OFFSET ?",
        parameters=tuple(clauses.parameters),
    )


def page_bounds(query: JobQuery) -> tuple[int, int]:
    """Return limit and offset as far as SQLite's integers go."""
    return min(query.limit, MAX_INTEGER), min(query.offset, MAX_INTEGER)


def _from_tags(clauses: _Clauses, tags: Terms, *, with_jobs: bool) -> None:
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
            f" WHERE tag IN ({_marks(tags)})) t"
        )
        clauses.parameters.extend(tags.values)
    if with_jobs:
        clauses.source += " CROSS JOIN jobs j ON j.seq = t.seq"  # CROSS fixes the order: tags first


def _index(given: dict[str, Terms], tenant: str | None) -> str:
    lead = next((name for name, terms in given.items() if not terms.negated), "time")
    if lead == "experiment_id":
        return "jobs_experiment"
    if lead == "owner":
        return "jobs_owner"
    return f"jobs_{lead}" if tenant is None else f"jobs_tenant_{lead}"


def _single(terms: Terms | None) -> Terms | None:
    """Normalise a filter on a column, of which a job has one value: it cannot be two at a time."""
    if terms is None or terms.negated:
        return terms
    values = tuple(dict.fromkeys(terms.values))
    if terms.every:
        # All of nothing is no condition; all of several is impossible.
        return None if not values else Terms(values=values if len(values) == 1 else ())
    return Terms(values=values)


def _states(terms: Terms | None) -> Terms | None:
    """Turn "not these states" into "one of the others", for which there is an index."""
    if terms is None or not terms.negated or not terms.values:
        return terms
    return Terms(values=tuple(state.value for state in State if state.value not in terms.values))


def _tags(terms: Terms | None) -> Terms | None:
    if terms is None or (terms.every and not terms.negated and not terms.values):
        return None
    values = tuple(dict.fromkeys(terms.values))
    # One value reads the index in the order of the page, whether "any" or "every".
    return Terms(values=values, every=terms.every or len(values) == 1, negated=terms.negated)


def _marks(terms: Terms) -> str:
    return ", ".join("?" * len(terms.values))
