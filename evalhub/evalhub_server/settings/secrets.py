"""What is secret in a configuration, and how it is shown instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.redaction import REDACTED, Redactor

SECRET_VARIABLES = frozenset({"DB_URL", "EVALHUB_TOKEN"})
"""Variables with secrets of the server's own, which no adapter inherits, whatever the configuration says."""

_DATABASE_URL = "database.url"
MAPPINGS = ("env_mappings", "secrets")
"""Sections that name keys and have no values."""
_SECRET_KEY = re.compile(r"(^|[._-])(password|passwd|secret|token|api_?key|credentials?)$")
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/?#\s:@]*):([^/?#\s]*)@")
_PASSWORD_PARAMETER = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&;]+)", re.IGNORECASE)
_FEWEST_CHARACTERS_INSIDE = 8
"""A shorter secret would be found in variables that have nothing to do with it."""


class Secrets(Struct, kw_only=True, frozen=True):
    """``values`` must not be seen anywhere; ``variables`` are those of the environment that no adapter inherits.

    ``keys`` (in lower case) are set from secret files. The texts never show the values.
    """

    values: frozenset[str] = frozenset()
    variables: frozenset[str] = SECRET_VARIABLES
    keys: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Secrets({len(self.values)} values, variables={sorted(self.variables)})"

    def redact(self, text: str) -> str:
        """``text`` without any of the values, and without passwords in URLs."""
        return without_passwords(Redactor(self.values).text(text))

    def is_secret(self, key: str) -> bool:
        """Is the whole value of the key a secret?"""
        return key.lower() in self.keys or bool(_SECRET_KEY.search(key.lower()))

    def shown(self, value: Any, key: str = "") -> Any:
        """A configuration as it may be logged."""
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {str(name): self.shown(item, f"{key}.{name}".lstrip(".")) for name, item in items}
        if isinstance(value, list | tuple):
            return [self.shown(item, key) for item in cast("list[Any]", value)]
        if value and self.is_secret(key):
            return REDACTED
        return self.redact(value) if isinstance(value, str) else value


def find_secrets(
    values: Mapping[str, Any], keys: frozenset[str], applied: Mapping[str, str], environ: Mapping[str, str]
) -> Secrets:
    """Look through a configuration.

    ``keys`` were set from secret files, ``applied`` from variables. A variable is withheld from adapters if it set a
    secret key or the database, or if a secret of the server's own is in it. MLflow's are shared: adapters log to
    the same server.
    """
    secrets = Secrets(keys=keys)
    found: set[str] = set()
    own: set[str] = set()
    for section, value in values.items():
        if section.lower() in MAPPINGS:
            continue
        for key, text in _texts(value, section):
            hidden = {text} if secrets.is_secret(key) else set(passwords_in(text))
            found |= hidden
            own |= set() if _shared(key) else hidden
    variables = {
        name
        for name, key in applied.items()
        if key.lower() == _DATABASE_URL or (secrets.is_secret(key) and not _shared(key))
    }
    inside = {value for value in own if len(value) >= _FEWEST_CHARACTERS_INSIDE}
    variables |= {name for name, text in environ.items() if any(value in text for value in inside)}
    return Secrets(values=frozenset(found - {""}), variables=SECRET_VARIABLES | variables, keys=keys)


def with_secret(secrets: Secrets, value: str, environ: Mapping[str, str]) -> Secrets:
    """One more secret of the server's own, which comes from elsewhere than the configuration."""
    holders = {name for name, text in environ.items() if value in text}
    return replace(secrets, values=secrets.values | {value}, variables=secrets.variables | holders)


def _shared(key: str) -> bool:
    return key.lower().startswith("mlflow.")


def passwords_in(text: str) -> Iterator[str]:
    """Passwords of URLs and of libpq's ``password=…``, as written and decoded."""
    for match in _USER_AND_PASSWORD.finditer(text):
        yield from {match[2], unquote(match[2])}
    for match in _PASSWORD_PARAMETER.finditer(text):
        yield from {match[1].strip("'"), unquote(match[1].strip("'"))}


def without_passwords(text: str) -> str:
    """The text with the passwords of URLs taken out, and libpq's replaced."""
    text = _USER_AND_PASSWORD.sub(r"\1@", text)
    return _PASSWORD_PARAMETER.sub(f"password={REDACTED}", text)


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in cast("dict[Any, Any]", value).items():
            yield from _texts(item, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _texts(item, key)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield key, str(value)
