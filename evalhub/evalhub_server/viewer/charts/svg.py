"""Elements of SVG charts.

Charts are styled by classes alone: the pages' content security policy forbids inline styles. Positions are attributes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from evalhub_server.viewer.text import visible

MAX_SERIES = 6
"""Series that colours and markers can tell apart."""
LARGEST = 1e100
"""Values beyond it are left out, as those that are not finite."""

CHARACTER_WIDTH = 6.6
"""Mean width of a character of the charts' 12 pixel font, estimated on the wide side."""


def plottable(value: float | None) -> bool:
    """Whether a value can be drawn."""
    return value is not None and math.isfinite(value) and abs(value) <= LARGEST


def chart(
    parts: Iterable[Markup],
    *,
    width: float,
    height: float,
    title: str,
    description: str,
    kind: str,
    links: bool = False,
) -> Markup:
    """The SVG element with its name and description. ``links``: it has links, which an image must not have."""
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart chart-{}" role="{}" width="{}" height="{}" '
        'viewBox="0 0 {} {}"><title>{}</title><desc>{}</desc>{}</svg>'
    ).format(
        kind,
        "group" if links else "img",
        number(width),
        number(height),
        number(width),
        number(height),
        visible(title),
        visible(description, 2_000),
        Markup().join(parts),
    )


def number(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, number(x1), number(y1), number(x2), number(y2)
    )


def rect(x: float, y: float, width: float, height: float, kind: str, tooltip: str = "") -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}">{}</rect>').format(
        kind, number(x), number(y), number(width), number(height), _tooltip(tooltip)
    )


def text(x: float, y: float, content: str, kind: str = "label", anchor: str = "start") -> Markup:
    """One line of text. Foreign text is neutralised."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, number(x), number(y), anchor, visible(content)
    )


def fitted(content: str, width: float) -> str:
    """Text that fits into a width, cut with an ellipsis."""
    most = max(int(width / CHARACTER_WIDTH), 1)
    content = visible(content)
    return content if len(content) <= most else f"{content[: most - 1]}…"


def polyline(points: Iterable[tuple[float, float]], kind: str) -> Markup:
    joined = " ".join(f"{number(x)},{number(y)}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, joined)


def link(href: str, content: Markup) -> Markup:
    """A link to a page of the viewer; without an address the content alone.

    Raises:
        ValueError: the address is not relative to this server.
    """
    if not href:
        return content
    if not href.startswith(("/", "?", "#")) or href.startswith("//"):
        raise ValueError(f"a link of a chart must be relative: {href!r}")
    return Markup('<a href="{}">{}</a>').format(href, content)


def group(kind: str, content: Iterable[Markup], tooltip: str = "") -> Markup:
    return Markup('<g class="{}">{}{}</g>').format(kind, _tooltip(tooltip), Markup().join(content))


def marker(series: int, x: float, y: float, size: float = 4.0) -> Markup:
    """The marker of a series, counted from 0: circle, square, triangle, diamond, inverted triangle, cross."""
    s = size
    if series == 0:
        return Markup('<circle class="marker" cx="{}" cy="{}" r="{}"/>').format(
            number(x), number(y), number(s)
        )
    if series == 1:
        return rect(x - s, y - s, 2 * s, 2 * s, "marker")
    shapes = {
        2: [(0, -s), (s, s), (-s, s)],
        3: [(0, -1.3 * s), (1.3 * s, 0), (0, 1.3 * s), (-1.3 * s, 0)],
        4: [(0, s), (s, -s), (-s, -s)],
    }
    if series in shapes:
        corners = " ".join(f"{number(x + dx)},{number(y + dy)}" for dx, dy in shapes[series])
        return Markup('<polygon class="marker" points="{}"/>').format(corners)
    return Markup().join([line(x - s, y, x + s, y, "marker"), line(x, y - s, x, y + s, "marker")])


def whisker(low: float, high: float, at: float, *, vertical: bool = False, cap: float = 3.0) -> Markup:
    """The line of an interval with caps at its limits."""
    if vertical:
        parts = [
            line(at, low, at, high, "whisker"),
            line(at - cap, low, at + cap, low, "whisker"),
            line(at - cap, high, at + cap, high, "whisker"),
        ]
    else:
        parts = [
            line(low, at, high, at, "whisker"),
            line(low, at - cap, low, at + cap, "whisker"),
            line(high, at - cap, high, at + cap, "whisker"),
        ]
    return Markup().join(parts)


def omitted(count: int, what: str = "value") -> str:
    """The sentence on values that are not drawn; empty if there are none."""
    if not count:
        return ""
    return f"{count:,} {what}{'' if count == 1 else 's'} without a finite number {'is' if count == 1 else 'are'} not drawn."


def _tooltip(content: str) -> Markup:
    return Markup("<title>{}</title>").format(visible(content)) if content else Markup()
