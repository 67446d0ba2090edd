"""Parameters of a benchmark, taken from the ``parameters`` object one by one; what remains is unknown to the adapter.

The names after the range are further names of the same parameter.
"""

from __future__ import annotations

from typing import TypeGuard, overload

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, describe


@overload
def whole(parameters: JsonObject, name: str, low: int, high: int, *others: str) -> int | None: ...


@overload
def whole(parameters: JsonObject, name: str, low: int, high: int, *others: str, default: int) -> int: ...


def whole(
    parameters: JsonObject, name: str, low: int, high: int, *others: str, default: int | None = None
) -> int | None:
    """Take a whole number; ``default`` if it is not given. Raises JobInvalid outside ``low`` to ``high``."""
    used, value = _take(parameters, name, *others)
    if value is None:
        return default
    # JSON has one type of number: 4 may arrive as 4.0.
    if not _is_within(value, low, high) or value != int(value):
        raise _invalid(used, value, f"a whole number from {low} to {high}")
    return int(value)


@overload
def number(parameters: JsonObject, name: str, low: float, high: float, *others: str) -> float | None: ...


@overload
def number(
    parameters: JsonObject, name: str, low: float, high: float, *others: str, default: float
) -> float: ...


def number(
    parameters: JsonObject, name: str, low: float, high: float, *others: str, default: float | None = None
) -> float | None:
    """Take a number; ``default`` if it is not given. Raises JobInvalid outside ``low`` to ``high``."""
    used, value = _take(parameters, name, *others)
    if value is None:
        return default
    if not _is_within(value, low, high):
        raise _invalid(used, value, f"a number from {low} to {high}")
    return value


def text(parameters: JsonObject, name: str) -> str | None:
    """Take a text; None if it is not given or empty. Raises JobInvalid for another type."""
    _, value = _take(parameters, name)
    if value is not None and not isinstance(value, str):
        raise _invalid(name, value, "a text")
    return value or None


def flag(parameters: JsonObject, name: str, *, default: bool) -> bool:
    """Take a boolean. Raises JobInvalid for another type."""
    _, value = _take(parameters, name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _invalid(name, value, "true or false")
    return value


def _is_within(value: object, low: float, high: float) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _take(parameters: JsonObject, *names: str) -> tuple[str, object]:
    """The first given name with its value; the other names are taken, too."""
    found = [(name, parameters.pop(name)) for name in names if name in parameters]
    return next((pair for pair in found if pair[1] is not None), (names[0], None))


def _invalid(name: str, value: object, allowed: str) -> JobInvalid:
    return JobInvalid(f"parameters.{name} is {describe(value)}: it must be {allowed}")
