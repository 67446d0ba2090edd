"""Lists of whatever kind: filters normalised, and SQL put together from clauses.

The index is named in the query (``INDEXED BY``): without statistics SQLite guesses which of several filters
is selective, and a wrong guess reads every record of a tenant. SQLite refuses a query whose index does not fit, so a
mistake here is an error in the tests and not a slow server.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from evalhub_server.plugins import JobQuery, ResourceQuery, Terms
from evalhub_storage_sqlite.columns import MAX_INTEGER


class ListQuery(Struct, kw_only=True, frozen=True):
    """Two queries with the same parameters, to which ``page`` adds limit and offset, the ``bounds``."""

    count: str
    page: str
    parameters: tuple[str, ...]
    bounds: tuple[int, int]


class Clauses(Struct, kw_only=True):
    source: str = ""
    where: list[str] = field(default_factory=list[str])
    parameters: list[str] = field(default_factory=list[str])

    def add(self, clause: str, values: tuple[str, ...] = ()) -> None:
        self.where.append(clause)
        self.parameters.extend(values)

    def add_in(self, column: str, terms: Terms) -> None:
        self.add(f"{column} {'NOT IN' if terms.negated else 'IN'} ({marks(terms)})", terms.values)

    def query(self, record_id: str, order: str, page: JobQuery | ResourceQuery) -> ListQuery:
        body = f"FROM {self.source}" + (f" WHERE {' AND '.join(self.where)}" if self.where else "")
        return ListQuery(
            count=f"SELECT count(*) {body}",
            page=f"SELECT {record_id} {body} ORDER BY {order} LIMIT ? OFFSET ?",
            parameters=tuple(self.parameters),
            bounds=(min(page.limit, MAX_INTEGER), min(page.offset, MAX_INTEGER)),
        )


def given(columns: dict[str, Terms | None]) -> dict[str, Terms] | None:
    """Return the filters that say something; None if nothing can match."""
    found = {name: terms for name, terms in columns.items() if terms is not None}
    if any(not terms.values and not terms.negated for terms in found.values()):
        return None
    return {name: terms for name, terms in found.items() if terms.values}


def first_searchable(filters: dict[str, Terms], order: Iterable[str]) -> str | None:
    """Return the first of the names whose filter an index can look up: one that is not negated."""
    return next((name for name in order if name in filters and not filters[name].negated), None)


def several(terms: Terms | None) -> Terms | None:
    """Normalise a filter on tags or the like, of which a record has any number."""
    if terms is None or (terms.every and not terms.negated and not terms.values):
        return None
    values = tuple(dict.fromkeys(terms.values))
    # One value reads the index in the order of the page, whether "any" or "every".
    return Terms(values=values, every=terms.every or len(values) == 1, negated=terms.negated)


def marks(terms: Terms) -> str:
    return ", ".join("?" * len(terms.values))
