"""Secrets of the configuration: detection, redaction, and variables that adapters must not inherit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from msgspec import Struct
from msgspec.structs import replace

from evalhub_common.callback_tokens import REDACTED, redact_callback_tokens

MIN_SECRET_LENGTH = 4
"""Characters. A shorter value is not secret, and would be replaced all over the text."""

SECRET_VARIABLES = frozenset({"DB_URL", "EVALHUB_TOKEN"})
"""Variables that hold secrets of the server and are never passed to adapters."""

_DATABASE_URL = "database.url"
MAPPINGS = ("env_mappings", "secrets")
"""Sections that contain names of keys instead of values."""
_SECRET_KEY = re.compile(r"(^|[._-])(password|passwd|secret|secret_access_key|token|api_?key|credentials?)$")
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^/?#\s:@]*):([^/?#\s]*)@")
_PASSWORD_PARAMETER = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&;]+)", re.IGNORECASE)
_MIN_LENGTH_INSIDE = 8
"""Characters. A shorter secret would match inside unrelated variables."""


class Redactor:
    """Replaces known secret values in text and, since a server with callback tokens has a secret, these tokens."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= MIN_SECRET_LENGTH}, key=len, reverse=True)
        # Not inside a word: the password "eval" is not in "evaluation".
        words = [
            (r"(?<!\w)" if s[0].isalnum() else "") + re.escape(s) + (r"(?!\w)" if s[-1].isalnum() else "")
            for s in known
        ]
        self._pattern = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        return redact_callback_tokens(self._pattern.sub(REDACTED, text)) if self._pattern else text

    def value(self, value: Any) -> Any:
        """A value of a log line. Lists and maps are redacted recursively, other objects as their text."""
        if self._pattern is None or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {self.text(str(key)): self.value(item) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in cast("list[Any]", value)]
        return self.text(value if isinstance(value, str) else str(value))


class Secrets(Struct, kw_only=True, frozen=True):
    """Secret ``values``, the environment ``variables`` that are not passed to adapters, and the ``keys`` of secret files.

    Keys are in lower case. The text of this object does not contain the values.
    """

    values: frozenset[str] = frozenset()
    variables: frozenset[str] = SECRET_VARIABLES
    keys: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Secrets({len(self.values)} values, variables={sorted(self.variables)})"

    def redact(self, text: str) -> str:
        """``text`` without the values and without passwords in URLs."""
        return without_passwords(Redactor(self.values).text(text))

    def is_secret(self, key: str) -> bool:
        """Is the whole value of the key a secret?"""
        return key.lower() in self.keys or bool(_SECRET_KEY.search(key.lower()))

    def shown(self, value: Any, key: str = "") -> Any:
        """Redacted copy of a configuration, for the log."""
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
    """Find the secrets of a configuration.

    ``keys`` were set from secret files, ``applied`` (variable → key) from the environment. A variable is not passed to
    adapters if it sets a secret key or the database URL, or if it contains a secret of the server. Secrets of MLflow are
    shared with adapters, which log to the same tracking server.
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
    inside = {value for value in own if len(value) >= _MIN_LENGTH_INSIDE}
    variables |= {name for name, text in environ.items() if any(value in text for value in inside)}
    return Secrets(values=frozenset(found - {""}), variables=SECRET_VARIABLES | variables, keys=keys)


def with_secret(secrets: Secrets, value: str, environ: Mapping[str, str]) -> Secrets:
    """Add a secret of the server that is not part of the configuration, such as the content of a token file."""
    holders = {name for name, text in environ.items() if value in text}
    return replace(secrets, values=secrets.values | {value}, variables=secrets.variables | holders)


def with_variables(secrets: Secrets, names: Iterable[str], environ: Mapping[str, str]) -> Secrets:
    """Add variables that hold secrets of the server, such as the keys of its own account."""
    values = {environ[name] for name in names if environ.get(name)}
    return replace(secrets, values=secrets.values | values, variables=secrets.variables | set(names))


def _shared(key: str) -> bool:
    return key.lower().startswith("mlflow.")


def passwords_in(text: str) -> Iterator[str]:
    """Passwords in URLs and in libpq's ``password=…``, as written and decoded."""
    for match in _USER_AND_PASSWORD.finditer(text):
        yield from {match[2], unquote(match[2])}
    for match in _PASSWORD_PARAMETER.finditer(text):
        yield from {match[1].strip("'"), unquote(match[1].strip("'"))}


def without_passwords(text: str) -> str:
    """``text`` with passwords removed from URLs and replaced in libpq's ``password=…``."""
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
