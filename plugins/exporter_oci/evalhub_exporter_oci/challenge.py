"""``WWW-Authenticate``: what a registry wants to see (RFC 9110, 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct, field

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  the grammar's word
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})")
_PART = re.compile(rf"\s*,*\s*(?:{_PARAMETER.pattern}|({_TOKEN}))")


class Challenge(Struct, frozen=True):
    """``scheme`` and the names of ``parameters`` are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Every challenge of every header, in their order. What is malformed ends its header."""
    found: list[Challenge] = []
    for header in headers:
        at = 0
        while part := _PART.match(header, at):
            at = part.end()
            name, value, scheme = part.groups()
            if scheme:
                found.append(Challenge(scheme.lower()))
            elif found:
                found[-1].parameters[name.lower()] = _unquoted(value)
    return found


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
