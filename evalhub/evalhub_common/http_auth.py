"""HTTP authentication: Basic credentials (RFC 7617) and challenges (RFC 9110, 11.6.1)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import SplitResult, unquote

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  the term of the grammar
_PARAMETER = re.compile(rf"({_TOKEN})\s*=\s*({_QUOTED}|{_TOKEN})")
_PART = re.compile(rf"\s*,*\s*(?:{_PARAMETER.pattern}|({_TOKEN}))")


def basic_auth(username: str, password: str) -> str:
    """The value of an ``Authorization`` header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def userinfo_auth(parts: SplitResult) -> str:
    """The ``Authorization`` header for user and password of a URL; empty if it has no user."""
    return basic_auth(unquote(parts.username), unquote(parts.password or "")) if parts.username else ""


class Challenge(NamedTuple):
    """One challenge of a ``WWW-Authenticate`` header; scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of all headers, in order. Malformed text ends its header."""
    challenges: list[Challenge] = []
    for header in headers:
        position = 0
        while part := _PART.match(header, position):
            position = part.end()
            name, value, scheme = part.groups()
            if scheme:
                challenges.append(Challenge(scheme.lower(), {}))
            elif challenges:
                challenges[-1].parameters[name.lower()] = _unquoted(value)
    return challenges


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
