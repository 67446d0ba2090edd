"""Scalars of YAML files: their values as Go's yaml.v3 resolves them, and their text as Go's mapstructure writes it."""

from __future__ import annotations

import math
import re
from datetime import datetime
from decimal import Decimal

MAX_UINT64 = 2**64 - 1
MIN_INT64 = -(2**63)
_MAX_DIGITS = len(str(MIN_INT64)) - 1

_INT = re.compile(r"([-+]?)(0[bB][01]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
"""A float that begins with its point; underscores only between digits."""
_NOT_FINITE = {
    f"{sign}.{name}": math.nan if name.lower() == "nan" else float(f"{sign}inf")
    for sign in ("", "+", "-")
    for name in ("inf", "Inf", "INF", *(() if sign else ("nan", "NaN", "NAN")))
}
_TIMESTAMP = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:(?P<separator>[Tt ])(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})"
    r"(?P<fraction>\.[0-9]+)?(?P<zone>Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_MAX_FRACTION = len(".999999999")


def number(text: str) -> int | float | None:
    """The number that a plain scalar stands for, or None if it is text.

    Integers have 64 bits: a larger decimal is a float, a larger octal or hexadecimal one is text, as is a float beyond
    the range of doubles. A leading 0 means octal. Numbers in base 60 are text.
    """
    if text.isdecimal() and text.isascii() and len(text) < _MAX_DIGITS and not text.startswith("0"):
        return int(text)  # most numbers of a file
    if text.startswith("."):
        if _FRACTION.fullmatch(text):
            return _float(text)
        return _NOT_FINITE.get(text)
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    if text.startswith("_"):
        return None
    plain = text.replace("_", "")
    match = _INT.fullmatch(plain)
    # A longer one is out of range, and Python limits the length of those that it converts.
    if match and len(plain) <= len("-0b") + 64:
        digits = match[2]
        octal = len(digits) > 1 and digits.isdecimal() and digits.startswith("0")
        value = int(digits, 8 if octal else 0)
        value = -value if match[1] == "-" else value
        if MIN_INT64 <= value <= (MAX_UINT64 if not match[1] else -MIN_INT64 - 1):
            return value
    return _float(plain) if _FLOAT.fullmatch(plain) else None


def timestamp(text: str) -> str | None:
    """A date or time in RFC 3339, or None if ``text`` is not one: ``2024-1-1`` gives ``2024-01-01T00:00:00Z``."""
    match = _TIMESTAMP.fullmatch(text) if text[4:5] == "-" else None
    if match is None:
        return None
    zone = match["zone"]
    # With a T, a time has a zone; with a space, it has none.
    if match["separator"] and (match["separator"] == " ") != (zone is None):
        return None
    parts = [int(match[name] or 0) for name in ("year", "month", "day", "hour", "minute", "second")]
    try:
        time = datetime(*parts).isoformat()  # type: ignore[arg-type]  # noqa: DTZ001
        if zone and zone != "Z":
            datetime.fromisoformat(f"{time}{zone}")
    except ValueError:  # 2024-02-31
        return None
    fraction = (match["fraction"] or "")[:_MAX_FRACTION].rstrip("0").rstrip(".")
    return f"{time}{fraction}{'Z' if zone in (None, '+00:00', '-00:00') else zone}"


def scalar_text(value: bool | float | str) -> str:
    """The text of a scalar where text is expected: true gives ``1``, 1e5 ``100000``, 1e-5 ``0.00001``."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and math.isfinite(value):
        text = format(Decimal(repr(value)), "f")
        return text.removesuffix(".0")
    return str(value)


def truth(text: str) -> bool | None:
    """The boolean that a text stands for where one is expected, or None: YAML 1.1's words, and Go's ``t`` and ``f``."""
    return _TRUTHS.get(text.lower())


_TRUTHS = {
    **dict.fromkeys(("true", "t", "1", "yes", "y", "on"), True),
    **dict.fromkeys(("false", "f", "0", "no", "n", "off"), False),
}


def _float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
