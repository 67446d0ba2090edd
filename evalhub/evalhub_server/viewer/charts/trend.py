"""Trend of a score over time or over runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.scales import Scale, Tick, linear_scale, time_scale
from evalhub_server.viewer.charts.svg import (
    MAX_SERIES,
    chart,
    fitted,
    group,
    line,
    link,
    marker,
    omitted,
    plottable,
    polyline,
    text,
    whisker,
)

WIDTH, HEIGHT = 720.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 150.0, 20.0, 28.0
_LABEL_DISTANCE = 14.0


class Point(NamedTuple):
    """A result. ``changed``: how its configuration differs from that of the point before; the line is broken there.

    ``compare`` is the address of its comparison with the point before.
    """

    at: datetime
    value: float | None
    low: float | None = None
    high: float | None = None
    href: str = ""
    label: str = ""
    changed: str = ""
    compare: str = ""


class Series(NamedTuple):
    """The results of one model, oldest first."""

    name: str
    points: Sequence[Point]


def trend(
    series: Sequence[Series], *, title: str, threshold: float | None = None, by_run: bool = False
) -> Markup:
    """Scores with their intervals over time, or by run at equal distances, with a line at the threshold.

    Each of at most six series has a marker, and its name beside its last point. Points without a finite value are left out.
    """
    drawn = [Series(each.name, [point for point in each.points if plottable(point.value)]) for each in series]
    drawn = [each for each in drawn if each.points][:MAX_SERIES]
    moments = sorted({point.at for each in drawn for point in each.points})
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    across = _runs(len(moments), LEFT + 8, right) if by_run else time_scale(moments, LEFT + 8, right)
    places = {moment: float(index) if by_run else moment.timestamp() for index, moment in enumerate(moments)}
    limit = threshold if plottable(threshold) else None
    upward = linear_scale(_values(drawn, limit), bottom, TOP, most_ticks=5)

    parts: list[Markup] = []
    for tick in upward.ticks:
        y = upward.position(tick.value)
        parts += [line(LEFT, y, right, y, "grid"), text(LEFT - 6, y + 4, tick.label, "tick", "end")]
    parts.append(line(LEFT, bottom, right, bottom, "axis"))
    parts += [
        text(across.position(tick.value), bottom + 16, tick.label, "tick", "middle") for tick in across.ticks
    ]
    heights = [upward.position(each.points[-1].value or 0.0) for each in drawn]
    if limit is not None:
        heights.append(upward.position(limit))
        parts.append(line(LEFT, heights[-1], right, heights[-1], "threshold"))
    labels = _spread(heights)
    if limit is not None:
        parts.append(text(right + 28, labels[-1] + 4, f"threshold {numbers.score(limit)}", "note"))
    for index, each in enumerate(drawn):
        located = [(across.position(places[point.at]), point) for point in each.points]
        content = [*_lines(located, upward), *_breaks(located, bottom)]
        content += [_point(index, x, point, upward) for x, point in located]
        content.append(marker(index, right + 18, labels[index]))
        content.append(text(right + 28, labels[index] + 4, fitted(each.name, RIGHT - 28), "series-name"))
        parts.append(group(f"series-{index + 1}", content))
    return chart(
        parts,
        width=WIDTH,
        height=HEIGHT,
        title=title,
        description=_description(series, drawn),
        kind="trend",
        links=any(point.href or point.compare for each in drawn for point in each.points),
    )


def _runs(count: int, start: float, end: float) -> Scale:
    """A scale of run numbers, counted from 0 and labelled from 1."""
    step = max(count // 10, 1)
    ticks = tuple(Tick(index, str(index + 1)) for index in range(0, count, step))
    return Scale(0.0, max(count - 1.0, 1.0), start, end, ticks)


def _values(drawn: Sequence[Series], limit: float | None) -> list[float]:
    values = [] if limit is None else [limit]
    for each in drawn:
        for point in each.points:
            values += [value for value in (point.value, *_limits(point)) if value is not None]
    return values


def _limits(point: Point) -> tuple[float, float] | tuple[()]:
    if point.low is None or point.high is None or not (plottable(point.low) and plottable(point.high)):
        return ()
    return point.low, point.high


def _lines(located: Sequence[tuple[float, Point]], upward: Scale) -> list[Markup]:
    """Lines through points of the same configuration; a point alone has none."""
    runs: list[list[tuple[float, float]]] = []
    for x, point in located:
        if point.changed or not runs:
            runs.append([])
        runs[-1].append((x, upward.position(point.value or 0.0)))
    return [polyline(run, "line") for run in runs if len(run) > 1]


def _breaks(located: Sequence[tuple[float, Point]], bottom: float) -> list[Markup]:
    parts: list[Markup] = []
    for (before, _), (x, point) in pairwise(located):
        if point.changed:
            middle = (before + x) / 2
            mark = [line(middle, TOP, middle, bottom, "break"), text(middle, TOP - 6, "≠", "note", "middle")]
            parts.append(link(point.compare, group("break", mark, f"Configuration changed: {point.changed}")))
    return parts


def _point(index: int, x: float, point: Point, upward: Scale) -> Markup:
    y = upward.position(point.value or 0.0)
    limits = _limits(point)
    parts = (
        [whisker(upward.position(limits[0]), upward.position(limits[1]), x, vertical=True)] if limits else []
    )
    parts.append(marker(index, x, y))
    shown = numbers.score_with_interval(point.value, point.low, point.high)
    what = f"{point.label} {point.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {shown}".strip()
    return link(point.href, group("point", parts, what))


def _spread(wanted: Sequence[float]) -> list[float]:
    """Positions of labels near the wanted ones that do not overlap, inside the chart."""
    placed = list(wanted)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for before, index in pairwise(order):
        placed[index] = max(placed[index], placed[before] + _LABEL_DISTANCE)
    lowest = HEIGHT - BOTTOM
    for index in reversed(order):  # only labels that are in the way of one below move up
        placed[index] = min(placed[index], lowest)
        lowest = placed[index] - _LABEL_DISTANCE
    return placed


def _description(series: Sequence[Series], drawn: Sequence[Series]) -> str:
    points = sum(len(each.points) for each in drawn)
    sentences = [f"{numbers.counted(points, 'result')} of {numbers.counted(len(drawn), 'series', 'series')}."]
    with_points = [each for each in series if any(plottable(point.value) for point in each.points)]
    if len(with_points) > MAX_SERIES:
        sentences.append(f"{len(with_points) - MAX_SERIES} more series are not drawn.")
    sentences.append(
        omitted(sum(not plottable(point.value) for each in series for point in each.points), "result")
    )
    for each in drawn:
        changes = [point for point in each.points[1:] if point.changed]
        sentences += [
            f"{each.name}: changed at {point.at.astimezone(UTC):%Y-%m-%d}: {point.changed}."
            for point in changes
        ]
    return " ".join(sentence for sentence in sentences if sentence)
