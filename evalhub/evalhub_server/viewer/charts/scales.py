"""Scales of charts: positions of values on an axis, and ticks at round values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import MAXYEAR, UTC, datetime
from typing import NamedTuple

from evalhub_server.viewer.numbers import MINUS

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 2400, 6000)
_TIME_STEPS = (
    *(1, 5, 15, 30),
    *(each * _MINUTE for each in (1, 5, 15, 30)),
    *(each * _HOUR for each in (1, 3, 6, 12)),
    *(each * _DAY for each in (1, 2, 7, 14)),
)


class Tick(NamedTuple):
    value: float
    label: str


class Scale(NamedTuple):
    """A linear scale from values to positions, with its ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[Tick, ...]

    def position(self, value: float) -> float:
        """The position of a value, within the axis."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def linear_scale(values: Iterable[float], start: float, end: float, *, most_ticks: int = 6) -> Scale:
    """A scale whose first and last ticks are at or beyond all values; 0 to 1 without values."""
    known = list(values) or [0.0, 1.0]
    low, high = min(known), max(known)
    if high - low < max(max(abs(low), abs(high)) * 1e-9, 1e-100):  # too near for different ticks
        half = 0.5 if abs(low) < 2 else abs(low) * 0.05
        low, high = low - half, high + half
    step = _round_step((high - low) / max(most_ticks - 1, 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    places = max(-math.floor(math.log10(step) + 1e-9), 0)
    ticks = tuple(Tick(index * step, _label(index * step, step, places)) for index in range(first, last + 1))
    return Scale(ticks[0].value, ticks[-1].value, start, end, ticks)


def time_scale(moments: Sequence[datetime], start: float, end: float, *, most_ticks: int = 6) -> Scale:
    """A scale of times in seconds since the epoch, with ticks at round times of UTC."""
    seconds = [moment.timestamp() for moment in moments] or [0.0]
    low, high = min(seconds), max(seconds)
    if low == high:
        low, high = low - _HOUR, high + _HOUR
    step = next((each for each in _TIME_STEPS if (high - low) / each < most_ticks), 0)
    ticks = _fixed_ticks(low, high, step) if step else _month_ticks(moments, most_ticks)
    return Scale(low, high, start, end, tuple(ticks))


def _fixed_ticks(low: float, high: float, step: int) -> Iterator[Tick]:
    for at in range(math.ceil(low / step) * step, math.floor(high) + 1, step):
        moment = datetime.fromtimestamp(at, UTC)
        if step >= _DAY or at % _DAY == 0:
            yield Tick(at, f"{moment:%m-%d}")
        else:
            yield Tick(at, f"{moment:%H:%M}" if step >= _MINUTE else f"{moment:%H:%M:%S}")


def _month_ticks(moments: Sequence[datetime], most_ticks: int) -> Iterator[Tick]:
    """Ticks at the first day of months."""
    first, last = (12 * at.year + at.month - 1 for at in (min(moments), max(moments)))
    step = next((each for each in _MONTH_STEPS if (last - first) / each < most_ticks), 12_000)
    for month in range((first // step + 1) * step, min(last + 1, 12 * MAXYEAR), step):
        moment = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        yield Tick(moment.timestamp(), f"{moment:%Y-%m-%d}")


def _round_step(raw: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``raw``."""
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (1, 2, 5, 10):
        if factor * power >= raw * (1 - 1e-9):
            return factor * power
    return 10 * power


def _label(value: float, step: float, places: int) -> str:
    if abs(value) < step / 2:
        return "0"
    text = f"{value:.3g}" if abs(value) >= 1e6 or places > 6 else f"{value:,.{places}f}"
    return text.replace("-", MINUS)
