"""Histogram of the values of a metric."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.scales import linear_scale
from evalhub_server.viewer.charts.svg import chart, line, omitted, plottable, rect, text

WIDTH, HEIGHT = 480.0, 180.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 12.0, 40.0
MOST_BINS = 20


class Bin(NamedTuple):
    """``samples`` values from ``low`` up to ``high``, which only the last bin includes."""

    low: float
    high: float
    samples: int


def bins(values: Sequence[float | None], most: int = MOST_BINS) -> list[Bin]:
    """Bins of equal width at round limits; empty without finite values."""
    known = [value for value in values if value is not None and plottable(value)]
    if not known:
        return []
    edges = [tick.value for tick in linear_scale(known, 0, 1, most_ticks=most).ticks]
    counts = [0] * (len(edges) - 1)
    width = edges[1] - edges[0]
    for value in known:
        counts[min(max(int((value - edges[0]) / width + 1e-9), 0), len(counts) - 1)] += 1
    return [Bin(low, high, count) for (low, high), count in zip(pairwise(edges), counts, strict=True)]


def histogram(values: Sequence[float | None], *, title: str, unit: str = "sample", label: str = "") -> Markup:
    """The distribution of values. ``label`` names the axis of values, ``unit`` what is counted."""
    shown = bins(values)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    across = linear_scale([edge for each in shown for edge in (each.low, each.high)], LEFT, right)
    upward = linear_scale([0.0, *(float(each.samples) for each in shown)], bottom, TOP, most_ticks=4)
    parts: list[Markup] = []
    for tick in upward.ticks:
        if tick.value == int(tick.value):
            y = upward.position(tick.value)
            parts += [line(LEFT, y, right, y, "grid"), text(LEFT - 6, y + 4, tick.label, "tick", "end")]
    for each in shown:
        x, end, y = across.position(each.low), across.position(each.high), upward.position(each.samples)
        what = f"{each.low:.6g} to {each.high:.6g}: {numbers.counted(each.samples, unit)}"
        parts.append(rect(x + 0.5, y, max(end - x - 1, 0.5), bottom - y, "bar", what))
    parts.append(line(LEFT, bottom, right, bottom, "axis"))
    parts += [
        text(across.position(tick.value), bottom + 16, tick.label, "tick", "middle") for tick in across.ticks
    ]
    if label:
        parts.append(text((LEFT + right) / 2, HEIGHT - 6, label, "note", "middle"))
    total = sum(each.samples for each in shown)
    return chart(
        parts,
        width=WIDTH,
        height=HEIGHT,
        title=title,
        description=f"{numbers.counted(total, unit)} in {numbers.counted(len(shown), 'bin')}. "
        f"{omitted(len(values) - total)}".rstrip(),
        kind="histogram",
    )
