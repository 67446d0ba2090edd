"""Scores, intervals, counts, durations, sizes and times as text.

A value that is missing or not finite is :data:`MISSING`, never ``None``, ``NaN`` or an empty cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from markupsafe import Markup

from evalhub_server.domain.statistics.results import ScoreSummary

MISSING = Markup(
    '<span class="missing muted"><span aria-hidden="true">–</span>'
    '<span class="visually-hidden">not reported</span></span>'
)
MINUS = "\N{MINUS SIGN}"

WIDE_HALF_WIDTH = 0.05
"""Half-width of an interval from which the third decimal of a score says nothing."""
NARROW_HALF_WIDTH = 0.0005
"""Half-width of an interval below which a score needs a fourth decimal."""
LARGEST_FIXED = 1e15
"""Larger scores are written with an exponent."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def decimals(half_widths: Iterable[float | None]) -> int:
    """Decimals of the scores of one column, from the half-widths of their intervals.

    Three; two if all intervals are wide, four if all are narrow. Scores without an interval do not count.
    """
    known = [width for width in half_widths if width is not None and math.isfinite(width)]
    if known and min(known) >= WIDE_HALF_WIDTH:
        return 2
    return 4 if known and max(known) < NARROW_HALF_WIDTH else 3


def score(value: float | None, places: int = 3) -> str:
    """A score: ``0.874``. Values that would round to 0 without being 0 are written with an exponent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return _exponent(value) if 0 < abs(value) < 0.5 * 10**-places else _fixed(value, places)


def score_with_interval(
    value: float | None, low: float | None, high: float | None, places: int | None = None
) -> str:
    """A score with the limits of its interval: ``0.874 [0.859, 0.888]``; without limits the score alone.

    ``places``: decimals of the column; by default those that the interval supports.
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return score(value, 3 if places is None else places)
    if places is None:
        places = decimals([(high - low) / 2])
    shown = score(value, places)
    return shown if shown is MISSING else f"{shown} {interval(low, high, places)}"


def interval(low: float, high: float, places: int = 3) -> str:
    """The limits of an interval: ``[0.859, 0.888]``."""
    return f"[{_fixed(low, places)}, {_fixed(high, places)}]"


def delta(value: float | None, places: int = 3) -> str:
    """A difference with its sign: ``+0.012``, ``−0.064``, ``0.000``."""
    shown = score(value, places)
    return f"+{shown}" if value is not None and value > 0 and math.isfinite(value) else shown


def count(value: int | None) -> str:
    """A whole number with commas between thousands: ``2,000``."""
    return MISSING if value is None else f"{value:,}".replace("-", MINUS)


def counted(value: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 sample``, ``2,000 samples``."""
    return f"{count(value)} {noun if value == 1 else plural or f'{noun}s'}"


def share(part: float, whole: float) -> str:
    """A share in percent: ``61 %``. It is ``0 %`` and ``100 %`` only for nothing and everything."""
    if not (whole > 0 and math.isfinite(part) and math.isfinite(whole)):
        return MISSING
    if 0 < part < whole:
        percent = min(max(math.floor(100 * part / whole), 0), 99)
        return f"{percent} %" if percent else "<1 %"
    return f"{round(100 * part / whole)} %"


def sample_counts(summary: ScoreSummary) -> str:
    """The number of samples of a score, with what failed or is missing: ``n = 34 · 6 errors excluded``."""
    parts = [f"n = {count(summary.n)}"]
    counted_wrong = max(summary.n - summary.n_scored, 0)
    absent = _absent(summary.n_error, summary.n_missing)
    excluded = summary.n_error + summary.n_missing - counted_wrong
    if counted_wrong and excluded > 0:
        parts.append(f"{absent}: {count(counted_wrong)} counted as wrong, {count(excluded)} excluded")
    elif absent:
        parts.append(f"{absent} {'counted as wrong' if counted_wrong else 'excluded'}")
    return " · ".join(parts)


def duration(seconds: float | None) -> str:
    """A duration: ``4 ms``, ``0.31 s``, ``26 s``, ``3 min 12 s``, ``1 h 04 min``, ``2 d 03 h``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 0:
        return f"{MINUS}{duration(-seconds)}"
    if seconds < 0.0995:
        return f"{round(seconds * 1000)} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    minutes = round(seconds / _MINUTE)
    if minutes < _DAY // _MINUTE:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24:,} d {hours % 24:02} h"


def about(seconds: float | None) -> str:
    """An estimated duration, rounded: ``less than a minute``, ``about 4 min``, ``about 2 h 10 min``."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    minutes = round(seconds / _MINUTE)
    if minutes < 1:
        return "less than a minute"
    if minutes < _HOUR // _MINUTE:
        return f"about {minutes} min"
    tens = round(minutes, -1)
    return f"about {count(tens // 60)} h" + (f" {tens % 60:02} min" if tens % 60 else "")


def amount(value: float | None) -> str:
    """A number of units that need not be whole: ``732``, ``4.2``, ``0.031``."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == int(value) or abs(value) >= 100:
        return count(round(value))
    return score(value, 1 if abs(value) >= 1 else 3)


def size(size_bytes: int | None) -> str:
    """A size in binary units: ``512 B``, ``1.5 KiB``, ``29 MiB``."""
    if size_bytes is None:
        return MISSING
    value, unit = float(size_bytes), 0
    while value >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 9.95 else 1
    return f"{value:,.{digits}f} {_UNITS[unit]}"


def moment(at: datetime | None, now: datetime) -> Markup:
    """A time: relative to ``now`` within 24 hours of it, otherwise absolute in UTC; its title has the seconds."""
    if at is None:
        return MISSING
    start, absolute = _time_element(at)
    elapsed_s = (now - at).total_seconds()
    shown = _relative(elapsed_s) if abs(elapsed_s) < _DAY else absolute
    return Markup(f"{start}{shown}</time>")  # noqa: S704  digits and our own words


@lru_cache(1024)
def _time_element(at: datetime) -> tuple[str, str]:
    """The start tag of a time, and its absolute text."""
    utc = at.astimezone(UTC)
    day, time = f"{utc:%Y-%m-%d}", f"{utc:%H:%M:%S}"
    return f'<time datetime="{day}T{time}Z" title="{day} {time} UTC">', f"{day} {time[:5]}"


def _fixed(value: float, places: int) -> str:
    if abs(value) >= LARGEST_FIXED:
        return _exponent(value)
    text = f"{value:,.{places}f}"
    return text.replace("-", MINUS if float(text.replace(",", "")) else "")


def _exponent(value: float) -> str:
    return f"{value:.1e}".replace("-", MINUS)


def _absent(errors: int, missing: int) -> str:
    parts = [counted(errors, "error")] if errors else []
    if missing:
        parts.append(f"{count(missing)} missing")
    return " and ".join(parts)


def _relative(elapsed_s: float) -> str:
    seconds = abs(elapsed_s)
    if seconds < 10:
        return "just now"
    if seconds < _MINUTE:
        shown = f"{int(seconds)} s"
    elif seconds < _HOUR:
        shown = f"{int(seconds // _MINUTE)} min"
    else:
        shown = f"{int(seconds // _HOUR)} h"
    return f"{shown} ago" if elapsed_s > 0 else f"in {shown}"
