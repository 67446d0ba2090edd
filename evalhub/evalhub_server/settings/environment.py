"""Environment variables that set keys: the built-in list, and ``env_mappings`` of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from evalhub_server.errors import SettingsError
from evalhub_server.settings.layers import Document, Place
from evalhub_server.settings.schema import ENVIRONMENT

SECTION = "env_mappings"


def mappings(document: Document) -> dict[str, str]:
    """Variable → dotted key. Raises :class:`SettingsError` for a malformed ``env_mappings``."""
    own: Any = document.get(SECTION) or {}
    if not isinstance(own, dict):
        raise SettingsError(f"{SECTION}: expected a map of variable to key, such as PORT: service.port.")
    found = dict(ENVIRONMENT)
    for variable, key in cast("dict[Any, Any]", own).items():
        if not isinstance(key, str) or not key.strip(". "):
            raise SettingsError(f"{SECTION}.{variable}: expected a dotted key such as service.port.")
        found[str(variable).upper()] = key
    return found


def place_of(variable: str) -> Place:
    """The place of what a variable sets."""
    return Place(f"environment variable {variable}")


def apply_environment(document: Document, environ: Mapping[str, str]) -> dict[str, str]:
    """Set every mapped key whose variable is not empty; returns the variables that did, with their keys."""
    applied: dict[str, str] = {}
    for variable, key in mappings(document).items():
        value = environ.get(variable, "")
        if not value:
            continue
        if variable == "OTEL_METRIC_EXPORT_INTERVAL" and value.isdecimal():
            value = f"{value}ms"  # OpenTelemetry itself reads the variable, and a bare number as milliseconds
        document.set(key, value, place_of(variable))
        applied[variable] = key
    return applied
