"""Charts of values with intervals in rows: scores on a shared axis, and a forest plot of differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.scales import Scale, linear_scale
from evalhub_server.viewer.charts.svg import (
    chart,
    fitted,
    group,
    line,
    link,
    marker,
    omitted,
    plottable,
    rect,
    text,
    whisker,
)

WIDTH = 720.0
LABELS = 200.0
"""Width of the column of labels."""
VALUES = 180.0
"""Width of the column of numbers."""
ROW = 24.0
HEAD = 20.0
"""Height above the rows, for the label of a threshold or a margin."""
FOOT = 24.0
"""Height below the rows, for the labels of the axis."""
_PAD = 10.0

Verdict = Literal["better", "worse", "inconclusive"]


class Score(NamedTuple):
    """A row of :func:`interval_dots`. ``series``: colour and marker, counted from 0; others than 0 to 5 have the first."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    series: int = 0
    href: str = ""


class Effect(NamedTuple):
    """A row of :func:`forest_plot`: a difference with its interval. ``n``: items that it is computed from."""

    label: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    verdict: Verdict = "inconclusive"
    href: str = ""


def interval_dots(rows: Sequence[Score], *, title: str, threshold: float | None = None) -> Markup:
    """Scores as dots with the whiskers of their intervals on one axis, with a line at the threshold.

    Rows without a finite value have a label and no dot.
    """
    limit = threshold if plottable(threshold) else None
    scale = _scale(rows, [] if limit is None else [limit])
    bottom = HEAD + ROW * len(rows)
    parts = _axis(scale, bottom)
    if limit is not None:
        x = scale.position(limit)
        parts += [line(x, HEAD - 4, x, bottom, "threshold"), _above(x, f"threshold {numbers.score(limit)}")]
    places = numbers.decimals(_half_width(row.low, row.high) for row in rows if plottable(row.value))
    for index, row in enumerate(rows):
        shown = _number(row.value, row.low, row.high, places)
        series = row.series if 0 <= row.series <= 5 else 0
        mark = [] if row.value is None else [marker(series, scale.position(row.value), _middle(index))]
        parts.append(_row(index, row, row.value, f"series-{series + 1}", mark, shown, scale))
    described = "" if limit is None else f" The line is the threshold {numbers.score(limit)}."
    description = f"{numbers.counted(len(rows), 'score')} with intervals.{described}"
    return _chart("intervals", parts, rows, [row.value for row in rows], title, description)


def forest_plot(rows: Sequence[Effect], *, title: str, margin: float | None = None) -> Markup:
    """Differences with their intervals, a line at 0 and the shaded margin. The size of a mark grows with ``n``.

    Filled marks are shown differences; hollow ones are inconclusive. Positive is better.
    """
    band = margin if plottable(margin) else None
    scale = _scale(
        [Score(row.label, row.estimate, row.low, row.high) for row in rows],
        [0.0] if band is None else [-band, band],
    )
    bottom = HEAD + ROW * len(rows)
    parts: list[Markup] = []
    if band is not None:
        left, right = scale.position(-abs(band)), scale.position(abs(band))
        parts += [rect(left, HEAD, right - left, bottom - HEAD, "margin")]
    parts += _axis(scale, bottom)
    zero = scale.position(0.0)
    parts.append(line(zero, HEAD - 4, zero, bottom, "zero"))
    parts.append(_above(zero, "worse ← 0 → better"))
    places = numbers.decimals(_half_width(row.low, row.high) for row in rows if plottable(row.estimate))
    largest = max((row.n for row in rows), default=0)
    for index, row in enumerate(rows):
        size = 3.0 + 3.0 * math.sqrt(max(row.n, 0) / largest) if largest > 0 else 4.0
        mark = [] if row.estimate is None else [marker(0, scale.position(row.estimate), _middle(index), size)]
        shown = _number(row.estimate, row.low, row.high, places, sign=True)
        parts.append(_row(index, row, row.estimate, f"effect-{row.verdict}", mark, shown, scale))
    described = "" if band is None else f" The band is the margin of {numbers.score(band)}."
    description = f"{numbers.counted(len(rows), 'difference')} with intervals, positive is better.{described}"
    return _chart("forest", parts, rows, [row.estimate for row in rows], title, description)


def _chart(
    kind: str,
    parts: Sequence[Markup],
    rows: Sequence[Score | Effect],
    values: Sequence[float | None],
    title: str,
    description: str,
) -> Markup:
    """The chart, with the number of rows without a mark in its description."""
    note = omitted(sum(not plottable(value) for value in values))
    return chart(
        parts,
        width=WIDTH,
        height=HEAD + ROW * len(rows) + FOOT,
        title=title,
        description=f"{description} {note}".rstrip(),
        kind=kind,
        links=any(row.href for row in rows),
    )


def _scale(rows: Sequence[Score], more: Sequence[float]) -> Scale:
    values = list(more)
    for row in rows:
        if plottable(row.value):
            values += [each for each in (row.value, *_limits(row.low, row.high)) if each is not None]
    return linear_scale(values, LABELS + _PAD, WIDTH - VALUES - _PAD)


def _limits(low: float | None, high: float | None) -> tuple[float, float] | tuple[()]:
    if low is None or high is None or not (plottable(low) and plottable(high)):
        return ()
    return low, high


def _half_width(low: float | None, high: float | None) -> float | None:
    limits = _limits(low, high)
    return (limits[1] - limits[0]) / 2 if limits else None


def _number(
    value: float | None, low: float | None, high: float | None, places: int, *, sign: bool = False
) -> str:
    if value is None or not plottable(value):
        return "not reported"
    shown = numbers.delta(value, places) if sign else numbers.score(value, places)
    limits = _limits(low, high)
    return f"{shown} {numbers.interval(*limits, places)}" if limits else shown


def _axis(scale: Scale, bottom: float) -> list[Markup]:
    parts: list[Markup] = []
    for tick in scale.ticks:
        x = scale.position(tick.value)
        parts += [line(x, HEAD, x, bottom, "grid"), text(x, bottom + 16, tick.label, "tick", "middle")]
    return [*parts, line(scale.start, bottom, scale.end, bottom, "axis")]


def _above(x: float, content: str) -> Markup:
    """A label above the rows, kept inside the chart."""
    half = len(content) * 3.3
    return text(min(max(x, half), WIDTH - half), HEAD - 8, content, "note", "middle")


def _middle(index: int) -> float:
    return HEAD + ROW * index + ROW / 2


def _row(
    index: int,
    row: Score | Effect,
    value: float | None,
    kind: str,
    mark: list[Markup],
    shown: str,
    scale: Scale,
) -> Markup:
    y = _middle(index)
    parts = [link(row.href, text(0, y + 4, fitted(row.label, LABELS)))]
    if plottable(value):
        limits = _limits(row.low, row.high)
        if limits:
            parts.append(whisker(scale.position(limits[0]), scale.position(limits[1]), y))
        parts += mark
    parts.append(text(WIDTH, y + 4, shown, "value", "end"))
    return group(kind, parts, f"{row.label}: {shown}")
