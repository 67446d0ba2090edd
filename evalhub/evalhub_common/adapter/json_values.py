"""Strict JSON (no NaN, no infinities), and narrowing of JSON values for the type checker."""

from __future__ import annotations

import json
import math
from typing import NoReturn, cast

JsonObject = dict[str, object]


def parse(text: str | bytes) -> object:
    """Parse one JSON value.

    Raises:
        ValueError: it is not JSON as RFC 8259 defines it (``NaN``, ``Infinity`` and ``1e999`` are refused, as are
            nesting that is too deep and bytes that are not UTF-8).
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


def dump(value: object) -> str:
    """Serialize to one line. Raises ValueError for NaN and infinities."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def finite(value: object) -> object:
    """``value`` with None in place of numbers that JSON does not have (NaN and infinities), in arrays and objects too."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(item) for name, item in cast("JsonObject", value).items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in cast("list[object]", value)]
    return value


def as_object(value: object) -> JsonObject | None:
    """``value`` if it is a JSON object, else None."""
    return cast("JsonObject", value) if isinstance(value, dict) else None


def parse_object(text: str | bytes) -> JsonObject:
    """The JSON object in ``text``; empty if it is something else."""
    try:
        return as_object(parse(text)) or {}
    except ValueError:
        return {}


def as_list(value: object) -> list[object] | None:
    """``value`` if it is a JSON array, else None."""
    return cast("list[object]", value) if isinstance(value, list) else None


def describe(value: object) -> str:
    """``value`` and its JSON type, short enough for an error message."""
    names = {
        "str": "string",
        "bool": "boolean",
        "int": "number",
        "float": "number",
        "list": "array",
        "dict": "object",
    }
    if value is None:
        return "null"
    text = json.dumps(value, ensure_ascii=False, default=repr)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"{text} ({names[type(value).__name__]})"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is too large")
    return number
