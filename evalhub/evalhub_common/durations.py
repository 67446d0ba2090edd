"""Durations in configuration files and environment variables: ``"15s"``, ``"1h30m"``."""

from __future__ import annotations

import re
from typing import Self

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER_AND_UNIT = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_PART = re.compile(_NUMBER_AND_UNIT)
_WHOLE = re.compile(rf"\+?(?:{_NUMBER_AND_UNIT})+")


class Duration(float):
    """Seconds. A number without a unit means nanoseconds, as in the released server."""

    @classmethod
    def parse(cls, value: object) -> Self:
        """The duration that a text or a number means.

        Raises:
            ValueError: it is neither, or it is negative.
        """
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return cls(value * 1e-9)
        text = str(value).strip()
        if text in ("0", "-0", "+0"):
            return cls(0)
        if not _WHOLE.fullmatch(text):
            raise ValueError(f'{value!r} is not a duration; write for example "15s", "5m" or "1h30m"')
        return cls(sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text)))


class Timespan(Duration):
    """Seconds. A number without a unit is refused, except 0: 3600 is never meant as 3.6 microseconds."""

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, int | float) and value:
            raise ValueError(f'{value!r} has no unit; write for example "{value}s"')
        return super().parse(value)
