"""Lengths of time, as configuration files write them."""

from __future__ import annotations

# The sidecar stands alone and reads the same durations, so the parser is its.
from evalhub_sidecar.durations import Duration


class Timespan(Duration):
    """Seconds, but a number without a unit is refused: nobody who writes 3600 means 3.6 microseconds."""

    @classmethod
    def parse(cls, value: object) -> Timespan:
        if isinstance(value, int | float) and value:
            raise ValueError(f'{value!r} has no unit; write for example "{value}s"')
        return cls(super().parse(value))


__all__ = ["Duration", "Timespan"]
