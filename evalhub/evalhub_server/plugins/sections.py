"""A section of the configuration made into a plugin's (or the core's) settings Struct."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, TypeVar, cast

import msgspec

from evalhub_server.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")


class Duration(float):
    """Seconds. Written as ``"15s"``, ``"1h30m"``; a bare number means nanoseconds, as in the released server."""

    @classmethod
    def parse(cls, value: object) -> Duration:
        """Raises :class:`ValueError`."""
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return cls(value * 1e-9)
        text = str(value).strip()
        if text == "0":
            return cls(0)
        if not _DURATION.fullmatch(text):
            raise ValueError(f'{value!r} is not a duration; write for example "15s", "5m" or "1h30m"')
        return cls(sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(text)))


class Timespan(Duration):
    """Seconds, but a number without a unit is refused: nobody who writes 3600 means 3.6 microseconds."""

    @classmethod
    def parse(cls, value: object) -> Timespan:
        if isinstance(value, int | float) and value:
            raise ValueError(f'{value!r} has no unit; write for example "{value}s"')
        return cls(super().parse(value))


def convert_section(section: Any, type_: type[T], path: str, *, strict: bool = True) -> T:
    """Convert parsed YAML at ``path`` (such as ``local``) to ``type_``.

    Null means absent, numbers may be written as text. Unknown keys are refused unless ``strict`` is off.

    Raises:
        SettingsError: names the key path, the value's problem and, for an unknown key, the nearest known one.
    """
    value: Any = {} if section is None else section
    if strict:
        for where, hint in unknown_keys(value, type_, path):
            raise SettingsError(f"{where}: unknown key{hint}")
    try:
        return msgspec.convert(_without_nulls(value), type_, strict=False, dec_hook=_decode_hook)
    except msgspec.ValidationError as error:
        raise SettingsError(_located(str(error), path)) from None


def unknown_keys(value: Any, type_: type[msgspec.Struct], path: str) -> Iterator[tuple[str, str]]:
    """Yield (key path, hint) for each key below ``value`` that ``type_`` does not know."""
    if not isinstance(value, dict):
        return
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(type_)}
    for key, item in cast("dict[Any, Any]", value).items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            yield where, f" (did you mean {near[0]}?)" if near else f" (known: {', '.join(fields)})"
        elif isinstance(fields[key], type) and issubclass(fields[key], msgspec.Struct):
            yield from unknown_keys(item, fields[key], where)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {key: _without_nulls(item) for key, item in items if item is not None}
    return value


def _decode_hook(type_: type[Any], value: Any) -> Any:
    if issubclass(type_, Duration):
        return type_.parse(value)
    raise NotImplementedError(type_)


def _located(error: str, path: str) -> str:
    """msgspec says "… - at `$.a.b`"; people look for ``path.a.b: …``."""
    text, _, where = error.partition(" - at `$")
    below = where.rstrip("`")
    return f"{path}{below}: {text[0].lower()}{text[1:]}" if path else f"{below.lstrip('.')}: {text}"
