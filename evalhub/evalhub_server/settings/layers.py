"""Values of the configuration, applied layer by layer, with the location where each was set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from evalhub_server.errors import SettingsError, located
from evalhub_server.settings.yaml_file import nearest_above, parse_yaml


class Location(Struct, frozen=True):
    """Where a value was set: a file and a line (from 1; 0 if unknown), or another source, such as a variable."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return located(self.source, self.line, "").removesuffix(": ")


class Finding(Struct, frozen=True, omit_defaults=True):
    """A problem in a file. ``severity`` is ``error`` (the server does not start, or skips the file), ``warning`` or
    ``info``.

    ``hint`` is the description of the setting that the message begins with.
    """

    severity: str
    source: str
    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return located(self.source, self.line, self.message)


class Document:
    """A configuration that layers are applied to. Keys match in any case; a later value replaces an earlier one."""

    def __init__(self, file: Path) -> None:
        parsed = parse_yaml(file)
        value: Any = {} if parsed.value is None else parsed.value
        if not isinstance(value, dict):
            raise SettingsError(
                f"expected sections such as 'service:', found a {type(value).__name__}.", str(file)
            )
        self.file = file
        items = cast("dict[Any, Any]", value)
        self.values: dict[str, Any] = {str(key): value for key, value in items.items()}
        self._locations = {path: Location(str(file), line) for path, line in parsed.lines().items()}

    def get(self, section: str) -> Any:
        """A top-level value, or None."""
        return self.values.get(_existing_key(self.values, section))

    def set(self, key: str, value: Any, location: Location) -> None:
        """Set one value by its dotted key; a parent that is not a section is replaced by one."""
        *parents, leaf = key.split(".")
        node = self.values
        for parent in parents:
            name = _existing_key(node, parent)
            child: Any = node.get(name)
            node[name] = child = cast("dict[str, Any]", child) if isinstance(child, dict) else {}
            node = cast("dict[str, Any]", child)
        node[_existing_key(node, leaf)] = value
        self._forget(key)
        self._locations[key.lower()] = location

    def overlay(self, other: Document) -> None:
        """Replace each section that ``other`` contains as a whole."""
        for key, value in other.values.items():
            self.values.pop(_existing_key(self.values, key), None)
            self.values[key] = value
            self._forget(key)
        self._locations.update(other._locations)

    def location(self, key: str) -> Location:
        """Where a key was set; else where the nearest key above it was set; else the file."""
        return nearest_above(self._locations, key) or Location(str(self.file))

    def locations(self) -> Mapping[str, Location]:
        """Dotted key in lower case → where it was set."""
        return self._locations

    def error(self, error: SettingsError) -> SettingsError:
        """``error`` with the location of the key that its message begins with, unless it has one."""
        if error.source:
            return error
        location = self.location(key_of(error.message))
        return SettingsError(error.message, location.source, location.line)

    def warning(self, message: str) -> Finding:
        """A warning whose message begins with the key."""
        location = self.location(key_of(message))
        return Finding("warning", location.source, location.line, message)

    def _forget(self, key: str) -> None:
        below = key.lower()
        for path in [p for p in self._locations if p == below or p.startswith((f"{below}.", f"{below}["))]:
            del self._locations[path]


def key_of(message: str) -> str:
    """The key path that a message begins with."""
    return message.partition(":")[0].partition(" ")[0]


def _existing_key(node: Mapping[str, Any], name: str) -> str:
    """The key of ``node`` that equals ``name`` in any case, or ``name`` itself."""
    if name in node:
        return name
    return next((key for key in node if str(key).lower() == name.lower()), name)
