"""Values of search columns, and the SQL of lists built from conditions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from evalhub_server.plugins import JobQuery, ResourceQuery, Terms, single

MAX_INTEGER = 2**63 - 1
_LONGEST_BYTES, _KEPT_BYTES = 500, 400


def searchable(text: str) -> str:
    """Return the column value of ``text``, usually the text itself. Different texts have different values, in order.

    A column cannot store the character NUL, so NUL and U+0001 are written as two characters. An index cannot store
    values of more than about 2,700 bytes, so the value of a long text is its beginning and a digest of the whole; long
    texts with the same beginning are sorted by their digests. The document has the original text.

    Raises:
        UnicodeError: it contains half of a surrogate pair.
    """
    escaped = text.replace("\x01", "\x01\x02").replace("\0", "\x01\x01")
    encoded = escaped.encode()
    if len(encoded) <= _LONGEST_BYTES:
        return escaped
    return encoded[:_KEPT_BYTES].decode(errors="ignore") + "\x01\x03" + hashlib.sha256(encoded).hexdigest()


def searchables(texts: Iterable[str]) -> list[str]:
    """Return the column values of distinct texts, in order; see :func:`searchable`."""
    return [searchable(text) for text in dict.fromkeys(texts)]


def original(value: str) -> str | None:
    """Return the text of a column value; None if the value is shortened. The inverse of :func:`searchable`."""
    if "\x01\x03" in value:
        return None
    return value.replace("\x01\x01", "\0").replace("\x01\x02", "\x01")


def label_terms(label: str, values: Iterable[str]) -> list[str]:
    """Return values as the column ``labels`` stores them: ``tags=nightly``."""
    return searchables(f"{quote(label, safe='')}={value}" for value in values)


class Conditions:
    """The conditions of a ``WHERE`` clause, and the values of the parameters of its statement."""

    def __init__(self, values: list[Any] | None = None) -> None:
        self.clauses: list[str] = []
        self.values: list[Any] = [] if values is None else values

    def parameter(self, value: Any) -> str:
        self.values.append(value)
        return f"${len(self.values)}"

    def text(self, column: str, terms: Terms | None) -> None:
        """Filter by a column with one value per record."""
        terms = single(terms)
        if terms is None:
            return
        values = searchables(terms.values)
        if terms.negated:
            self.clauses.append(f"{column} <> ALL({self.parameter(values)}::text[])")
        elif len(values) == 1:  # so that an index provides the order, too
            self.clauses.append(f"{column} = {self.parameter(values[0])}")
        else:
            self.clauses.append(f"{column} = ANY({self.parameter(values)}::text[])")

    def array(self, column: str, values: list[str], terms: Terms) -> None:
        """Filter by an array column; ``values`` are those of the terms as the column stores them."""
        if terms.negated:
            self.clauses.append(f"NOT {column} && {self.parameter(values)}::text[]")
        elif terms.every and values:
            self.clauses.append(f"{column} @> {self.parameter(values)}::text[]")
        elif not terms.every:
            self.clauses.append(f"{column} && {self.parameter(values)}::text[]")

    @property
    def where(self) -> str:
        """The clause, which begins with a space; empty without conditions."""
        return f" WHERE {' AND '.join(self.clauses)}" if self.clauses else ""

    def listing(
        self,
        table: str,
        columns: str,
        order: str,
        query: JobQuery | ResourceQuery,
        *,
        rest: str = "",
        total: str | None = None,
    ) -> tuple[str, list[Any]]:
        """Return SQL for one page and the count of all that match, and its parameters.

        One statement, so that both are from one snapshot. Each row has the count, the place in the page and ``columns``;
        an empty page is one row without a place. ``rest`` is selected from ``page`` for its rows only, not for those before it.
        ``total`` is SQL of the count, if it need not be counted.
        """
        where = self.where
        total = total or f"SELECT count(*) AS total FROM {table}{where}"  # noqa: S608 - values are parameters
        limit, offset = (self.parameter(min(bound, MAX_INTEGER)) for bound in (query.limit, query.offset))
        sql = (
            f"SELECT total, page.*{rest} FROM ({total}) counted LEFT JOIN"  # noqa: S608 - values are parameters
            f" (SELECT row_number() OVER (ORDER BY {order}) AS place, {columns} FROM {table}{where}"
            f" ORDER BY {order} LIMIT {limit} OFFSET {offset}) page ON true ORDER BY place"
        )
        return sql, self.values
