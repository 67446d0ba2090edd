"""Query strings: the contract's parameters, their grammar and their errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote

from evalhub_server.domain import problems
from evalhub_server.models.common import Link
from evalhub_server.plugins.storage import Terms
from evalhub_server.web.paths import link_to

C = TypeVar("C", bound=str)

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
# Above the size of any table and within the integers of every database.
MAX_OFFSET = 2**53
_INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
_TRUE = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE = {"0", "f", "F", "FALSE", "false", "False"}


class Query:
    """The parsed query of a request. Of a repeated parameter the first value that is not empty counts."""

    def __init__(self, scope: Any) -> None:
        self._scope = scope
        text = scope["query_string"].decode("latin-1")
        self._values: dict[str, list[str]] = {}
        for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The first value that is not empty, or an empty string."""
        values = self._values.get(name)
        return next(filter(None, values), "") if values else ""

    def texts(self, name: str) -> list[str]:
        """All values that are not empty."""
        values = self._values.get(name)
        return [value for value in values if value] if values else []

    @property
    def names(self) -> list[str]:
        """The names of all parameters."""
        return list(self._values)

    def given(self, name: str) -> bool:
        """Whether the parameter is present, even if it is empty."""
        return name in self._values

    def integer(self, name: str, default: int) -> int:
        """A non-negative integer. Raises :class:`ApiError` for anything else."""
        text = self.text(name)
        if not text:
            return default
        if not _INTEGER.fullmatch(text) or len(text) > 18:
            raise problems.query_parameter_invalid(name, "integer", text)
        number = int(text)
        if number < 0:
            raise problems.query_parameter_invalid(name, "positive integer", text)
        return number

    def boolean(self, name: str, default: bool) -> bool:
        """A boolean in any of the contract's spellings. Raises :class:`ApiError` for anything else."""
        text = self.text(name)
        if not text:
            return default
        if text not in _TRUE | _FALSE:
            raise problems.query_parameter_invalid(name, "boolean", text)
        return text in _TRUE

    def moment(self, name: str) -> datetime | None:
        """A time with a zone, such as ``2026-01-31T12:00:00Z``. Raises :class:`ApiError` for anything else."""
        text = self.text(name)
        if not text:
            return None
        try:
            # In a URL that was not encoded, the plus sign of a zone has become a space.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            if moment.tzinfo is None:
                raise ValueError
            return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            raise problems.query_parameter_invalid(
                name, "time with a zone such as 2026-01-31T12:00:00Z", text
            ) from None

    def choice(self, name: str, allowed: Sequence[C], default: C) -> C:
        """One of ``allowed``. Raises :class:`ApiError` for anything else."""
        text = self.text(name) or default
        for value in allowed:
            if value == text:
                return value
        raise problems.query_parameter_value_invalid(name, "|".join(allowed))

    def choices(self, name: str, allowed: Sequence[C]) -> list[C]:
        """Distinct values of ``allowed`` that are separated by commas. Raises :class:`ApiError` for anything else."""
        known = {str(value): value for value in allowed}
        wanted = dict.fromkeys(text for text in self.text(name).split(",") if text)
        for text in wanted:
            if text not in known:
                raise problems.query_parameter_value_invalid(name, "|".join(allowed))
        return [known[text] for text in wanted]

    def allow_only(self, names: Sequence[str]) -> None:
        """Raise :class:`ApiError` for a parameter that is not among ``names``."""
        for name in self._values:
            if name not in names:
                raise problems.query_bad_parameter(name, names)

    def terms(self, name: str, *, negatable: bool = False) -> Terms | None:
        """A filter: ``a,b`` requires all values, ``a|b`` any; None without the parameter. Values are stripped.

        ``negatable``: a value may begin with ``!``, and the field has exactly one value.
        """
        text = ",".join(self.texts(name))
        if not text:
            return None
        every = "," in text
        separator = "," if every else "|"
        parts = [part.strip() for part in text.split(separator)] if separator in text else [text]
        if not negatable:
            return Terms(values=tuple(parts), every=every)
        return _single_value_terms(
            {part for part in parts if not part.startswith("!")},
            {part[1:] for part in parts if part.startswith("!")},
            every=every,
        )

    def page(self) -> tuple[int, int]:
        """(limit, offset). A limit of 0 or above 1000 means 1000."""
        limit = self.integer("limit", DEFAULT_LIMIT)
        offset = self.integer("offset", 0)
        return (limit if 1 <= limit <= MAX_LIMIT else MAX_LIMIT), min(offset, MAX_OFFSET)

    def links(
        self, limit: int, offset: int, total: int, *, after: int | None = None
    ) -> tuple[Link, Link | None]:
        """The URLs of this page and of the next one, if any. ``after`` is a cursor that replaces the offset."""
        first = Link(href=link_to(self._scope))
        if offset + limit >= total:
            return first, None
        position = {"offset": str(offset + limit)} if after is None else {"after": str(after)}
        values = {**self._values, "limit": [str(limit)], **{name: [text] for name, text in position.items()}}
        pairs = (f"{quote(n, safe='')}={quote(v, safe='')}" for n in sorted(values) for v in values[n])
        path = link_to(self._scope).partition("?")[0]
        return first, Link(href=f"{path}?{'&'.join(pairs)}")


def _single_value_terms(wanted: set[str], unwanted: set[str], *, every: bool) -> Terms | None:
    """Combine values and negated values of a field that has exactly one value. None matches everything."""
    if every:
        if not wanted:
            return Terms(values=tuple(sorted(unwanted)), negated=True)
        return Terms(values=() if len(wanted) > 1 or wanted & unwanted else tuple(wanted))
    if not unwanted:
        return Terms(values=tuple(sorted(wanted)))
    # Any value differs from at least one of two values, and either equals or differs from a single one.
    if len(unwanted) > 1 or wanted & unwanted:
        return None
    return Terms(values=tuple(unwanted), negated=True)
