"""Columns of metadata and errors of samples: what lists count and filter by beside the columns of the index.

They are read from the sample file when a list first needs them, and only where a column has few values.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from evalhub_server.domain.timeline import moment_of

MAX_KEYS = 16
"""Keys of metadata with a column: those that most samples have."""
MAX_VALUES = 30
"""Different values of a key with a column."""
MAX_ERRORS = 1000
"""Different errors; with more, there is no column."""
MAX_VALUE_CHARACTERS = 200
ERROR = "error"


class ValueColumn(Struct, frozen=True):
    """A value for each sample: ``codes`` are positions in ``values``, of which the first is empty, for samples without one."""

    values: tuple[str, ...]
    codes: array[int]

    def labels(self) -> list[str]:
        """The values of all samples."""
        return [self.values[code] for code in self.codes]

    def codes_of(self, wanted: Collection[str]) -> set[int]:
        return {code for code, value in enumerate(self.values) if value in wanted}


class SampleDetails(Struct, frozen=True):
    """The columns of keys of metadata, by key, and of errors. ``error`` is None with too many different ones.

    ``ended_at`` has the ends of samples in seconds since 1970, NaN for those without; None if none has one.
    """

    metadata: Mapping[str, ValueColumn] = {}
    error: ValueColumn | None = None
    ended_at: array[float] | None = None


class _Line(Struct, frozen=True):
    metadata: dict[str, Any] | None = None
    error: str | None = None
    ended_at: Any = None


class _Builder:
    """Collects one column; ``column`` is None once there are too many values."""

    def __init__(self, rows: int, limit: int) -> None:
        self._codes = array("H", bytes(2 * rows))
        self._known: dict[str, int] = {"": 0}
        self._limit = limit
        self.used = 0

    def add(self, row: int, value: str) -> bool:
        """Whether the column still has few values."""
        code = self._known.setdefault(value, len(self._known))
        self._codes[row] = code
        self.used += code > 0
        return len(self._known) <= self._limit + 1

    @property
    def column(self) -> ValueColumn:
        return ValueColumn(tuple(self._known), self._codes)


def details_of(lines: Iterable[bytes], count: int) -> SampleDetails:
    """The columns of ``count`` stored lines. Values that are no texts, numbers or booleans, or long, leave their key without one."""
    decode = msgspec.json.Decoder(_Line).decode
    errors: _Builder | None = _Builder(count, MAX_ERRORS)
    keys: dict[str, _Builder | None] = {}
    ends: array[float] | None = None
    for row, line in enumerate(lines):
        sample = decode(line)
        if sample.error and errors is not None and not errors.add(row, sample.error):
            errors = None
        if isinstance(sample.ended_at, str) and (at := moment_of(sample.ended_at)) is not None:
            ends = ends or array("d", [math.nan]) * count
            ends[row] = at.timestamp()
        for key, value in (sample.metadata or {}).items():
            builder = keys[key] if key in keys else keys.setdefault(key, _Builder(count, MAX_VALUES))
            if builder is None:
                continue
            text = _scalar(value)
            if text is None or not builder.add(row, text):
                keys[key] = None
    kept = [(key, each) for key, each in keys.items() if each is not None and each.used]
    kept.sort(key=lambda each: -each[1].used)
    return SampleDetails(
        metadata={key: each.column for key, each in kept[:MAX_KEYS]},
        error=errors.column if errors is not None else None,
        ended_at=ends,
    )


def _scalar(value: object) -> str | None:
    """A value as text, empty for none; None if it is a structure or long."""
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return msgspec.json.encode(value).decode()
    return value if isinstance(value, str) and len(value) <= MAX_VALUE_CHARACTERS else None
