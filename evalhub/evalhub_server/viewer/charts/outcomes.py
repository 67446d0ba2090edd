"""Charts of the outcomes of samples: their shares in one bar, and how many ended when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from markupsafe import Markup

from evalhub_server.models.sample import OUTCOMES, Outcome, TimelineBucket
from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.scales import linear_scale, time_scale
from evalhub_server.viewer.charts.svg import chart, line, link, rect, text
from evalhub_server.viewer.marks import MARKS

BAR_WIDTH, BAR_HEIGHT = 480.0, 20.0
_GLYPH_WIDTH = 18.0
_GAP = 1.0
_THINNEST = 2.0
"""Width of the part of an outcome with few samples, which would be invisible to scale."""

WIDTH, HEIGHT = 720.0, 140.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 8.0, 24.0


def outcome_bar(
    counts: Mapping[Outcome, int], *, title: str = "Outcomes", links: Mapping[Outcome, str] | None = None
) -> Markup:
    """One bar with a part for each outcome; ``links`` has the addresses of the samples with an outcome."""
    present: list[tuple[Outcome, int]] = [
        (outcome, counts.get(outcome, 0)) for outcome in OUTCOMES if counts.get(outcome, 0) > 0
    ]
    parts: list[Markup] = []
    if not present:
        parts.append(rect(0, 0, BAR_WIDTH, BAR_HEIGHT, "empty"))
    x = 0.0
    for (outcome, count), width in zip(present, _widths([count for _, count in present]), strict=True):
        what = f"{numbers.count(count)} {_words(outcome, count)}"
        content = rect(x, 0, width, BAR_HEIGHT, f"outcome-{outcome}", what)
        if width >= _GLYPH_WIDTH:
            content += text(x + width / 2, 15, MARKS[outcome], "glyph", "middle")
        parts.append(link((links or {}).get(outcome, ""), content))
        x += width + _GAP
    return chart(
        parts,
        width=BAR_WIDTH,
        height=BAR_HEIGHT,
        title=title,
        description=outcome_words(counts),
        kind="outcomes",
        links=bool(links),
    )


def outcome_words(counts: Mapping[Outcome, int]) -> str:
    """The counts of all outcomes: ``1,620 passed · 380 failed · 0 errors · 0 unscored``."""
    return " · ".join(
        f"{numbers.count(counts.get(each, 0))} {_words(each, counts.get(each, 0))}" for each in OUTCOMES
    )


def timeline(shown: Sequence[TimelineBucket], *, title: str = "Samples ended") -> Markup:
    """The number of samples that ended in each bucket, stacked by outcome. The buckets have equal lengths."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    width = min((right - LEFT) / max(len(shown), 1), 40.0)
    most = max((sum(bucket.outcomes.values()) for bucket in shown), default=0)
    upward = linear_scale([0.0, float(max(most, 1))], bottom, TOP, most_ticks=4)
    parts: list[Markup] = []
    for tick in upward.ticks:
        if tick.value == int(tick.value):
            y = upward.position(tick.value)
            parts += [line(LEFT, y, right, y, "grid"), text(LEFT - 6, y + 4, tick.label, "tick", "end")]
    for index, bucket in enumerate(shown):
        total = 0
        for outcome in OUTCOMES:
            count = bucket.outcomes.get(outcome, 0)
            if count <= 0:
                continue
            top, foot = upward.position(total + count), upward.position(total)
            what = f"{bucket.start.astimezone(UTC):%H:%M:%S} UTC: {numbers.count(count)} {_words(outcome, count)}"
            parts.append(
                rect(
                    LEFT + index * width, top, max(width - _GAP, 1.0), foot - top, f"outcome-{outcome}", what
                )
            )
            total += count
    parts.append(line(LEFT, bottom, right, bottom, "axis"))
    if shown:
        across = time_scale([bucket.start for bucket in shown], LEFT, LEFT + (len(shown) - 1) * width)
        # A single bucket has one label, its start.
        labels = (
            [(across.position(tick.value), tick.label) for tick in across.ticks]
            if len(shown) > 1
            else [(LEFT, f"{shown[0].start.astimezone(UTC):%H:%M:%S}")]
        )
        parts += [text(x, bottom + 16, label, "tick", "middle") for x, label in labels]
    totals: dict[Outcome, int] = {
        each: sum(bucket.outcomes.get(each, 0) for bucket in shown) for each in OUTCOMES
    }
    return chart(
        parts, width=WIDTH, height=HEIGHT, title=title, description=outcome_words(totals), kind="timeline"
    )


def _words(outcome: Outcome, count: int) -> str:
    return "errors" if outcome == "error" and count != 1 else outcome


def _widths(counts: Sequence[int]) -> list[float]:
    """Widths to scale; very small parts are widened at the cost of the others."""
    total = sum(counts)
    room = BAR_WIDTH - _GAP * (len(counts) - 1)
    thin = [count for count in counts if room * count / total < _THINNEST]
    scale = (room - _THINNEST * len(thin)) / max(total - sum(thin), 1)
    return [_THINNEST if room * count / total < _THINNEST else scale * count for count in counts]
