"""What columns hold to be searched, and SQL for lists put together from conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from evalhub_server.plugins import JobQuery, ResourceQuery, Terms, single

MAX_INTEGER = 2**63 - 1
_LONGEST_BYTES, _KEPT_BYTES = 500, 400


def searchable(text: str) -> str:
    """Return what a column has for ``text``: mostly the text itself. Different texts stay different, and in order.

    A column cannot have the character NUL, so that and U+0001 are written as two characters. An index cannot have values
    of more than some 2,700 bytes, so a long text is its beginning and a digest of the whole; longer ones that begin
    alike are sorted by their digests. The text as it was is in the document.

    Raises:
        UnicodeError: it has half of a surrogate pair.
    """
    escaped = text.replace("\x01", "\x01\x02").replace("\0", "\x01\x01")
    encoded = escaped.encode()
    if len(encoded) <= _LONGEST_BYTES:
        return escaped
    return encoded[:_KEPT_BYTES].decode(errors="ignore") + "\x01\x03" + hashlib.sha256(encoded).hexdigest()


def searchables(texts: Iterable[str]) -> list[str]:
    return [searchable(text) for text in dict.fromkeys(texts)]


def labelled(label: str, values: Iterable[str]) -> list[str]:
    """Return values as the column ``labels`` has them: ``tags=nightly``."""
    return searchables(f"{quote(label, safe='')}={value}" for value in values)


class Conditions:
    """What ``WHERE`` says, and the values of its parameters."""

    def __init__(self) -> None:
        self.clauses: list[str] = []
        self.values: list[Any] = []

    def mark(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def text(self, column: str, terms: Terms | None) -> None:
        """A column of which a record has one value."""
        terms = single(terms)
        if terms is None:
            return
        values = searchables(terms.values)
        if terms.negated:
            self.clauses.append(f"{column} <> ALL({self.mark(values)}::text[])")
        elif len(values) == 1:  # so that an index gives the order, too
            self.clauses.append(f"{column} = {self.mark(values[0])}")
        else:
            self.clauses.append(f"{column} = ANY({self.mark(values)}::text[])")

    def array(self, column: str, values: list[str], terms: Terms) -> None:
        """A column of which a record has any number of values; ``values`` are the terms' as the column has them."""
        if terms.negated:
            self.clauses.append(f"NOT {column} && {self.mark(values)}::text[]")
        elif terms.every and values:
            self.clauses.append(f"{column} @> {self.mark(values)}::text[]")
        elif not terms.every:
            self.clauses.append(f"{column} && {self.mark(values)}::text[]")

    def listing(
        self, table: str, columns: str, order: str, query: JobQuery | ResourceQuery
    ) -> tuple[str, list[Any]]:
        """Return SQL for one page and the count of all that match, and its parameters.

        It is one statement, so that both are of one state of the database. Every row is the count, the place in the page
        and ``columns``; a page of nothing is one row without a place.
        """
        where = f" WHERE {' AND '.join(self.clauses)}" if self.clauses else ""
        limit, offset = (self.mark(min(bound, MAX_INTEGER)) for bound in (query.limit, query.offset))
        sql = (
            f"SELECT total, page.* FROM (SELECT count(*) AS total FROM {table}{where}) counted LEFT JOIN"  # noqa: S608 - values are parameters
            f" (SELECT row_number() OVER (ORDER BY {order}) AS place, {columns} FROM {table}{where}"
            f" ORDER BY {order} LIMIT {limit} OFFSET {offset}) page ON true ORDER BY place"
        )
        return sql, self.values
