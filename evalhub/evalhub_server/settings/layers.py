"""The configuration while it is put together: its values, and for each where it was set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from evalhub_server.errors import SettingsError, located
from evalhub_server.settings.yaml_file import nearest_above, parse_yaml


class Place(Struct, frozen=True):
    """A file and a line (from 1, 0 if unknown), or something else that sets values, such as a variable."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return located(self.source, self.line, "").removesuffix(": ")


class Finding(Struct, frozen=True, omit_defaults=True):
    """Something that is wrong with a file. Only an ``error`` keeps the server from starting, or the file out.

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
    """Keys match in any case; a later value takes the place of an earlier one."""

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
        self._places = {path: Place(str(file), line) for path, line in parsed.lines().items()}

    def get(self, section: str) -> Any:
        """A top-level value, or None."""
        return self.values.get(_spelled(self.values, section))

    def set(self, key: str, value: Any, place: Place) -> None:
        """Set one value by its dotted key; what stands in the way of its sections is replaced."""
        *parents, leaf = key.split(".")
        node = self.values
        for parent in parents:
            name = _spelled(node, parent)
            child: Any = node.get(name)
            node[name] = child = cast("dict[str, Any]", child) if isinstance(child, dict) else {}
            node = cast("dict[str, Any]", child)
        node[_spelled(node, leaf)] = value
        self._forget(key)
        self._places[key.lower()] = place

    def overlay(self, other: Document) -> None:
        """Replace each section that ``other`` has, as a whole."""
        for key, value in other.values.items():
            self.values.pop(_spelled(self.values, key), None)
            self.values[key] = value
            self._forget(key)
        self._places.update(other._places)

    def place(self, key: str) -> Place:
        """Where a key, or else the nearest one above it, was set; the file if nothing of it was."""
        return nearest_above(self._places, key) or Place(str(self.file))

    def places(self) -> Mapping[str, Place]:
        return self._places

    def error(self, error: SettingsError) -> SettingsError:
        """The same with its place, if it has none: its message begins with the key."""
        if error.source:
            return error
        place = self.place(key_of(error.message))
        return SettingsError(error.message, place.source, place.line)

    def warning(self, message: str) -> Finding:
        """A warning whose message begins with the key."""
        place = self.place(key_of(message))
        return Finding("warning", place.source, place.line, message)

    def _forget(self, key: str) -> None:
        below = key.lower()
        for path in [p for p in self._places if p == below or p.startswith((f"{below}.", f"{below}["))]:
            del self._places[path]


def key_of(message: str) -> str:
    """The key path that a message begins with."""
    return message.partition(":")[0].partition(" ")[0]


def _spelled(node: Mapping[str, Any], name: str) -> str:
    """The key of ``node`` that is ``name`` in any case, or ``name``."""
    if name in node:
        return name
    return next((key for key in node if str(key).lower() == name.lower()), name)
