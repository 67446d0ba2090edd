"""The sentences that users read: verdicts with their interval, in points or in the metric's unit.

They state what was shown, never more: "no difference shown" instead of "equal", "not worse by more than 1 point" instead
of "no regression".
"""

from __future__ import annotations

import math

from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Flag,
    Flips,
    Interval,
    Note,
    SuiteComparison,
    Verdict,
)

FEW_CHANGES = 4
"""With at most this many changed answers no difference can be significant."""
VERDICT_HEADS: dict[str, str] = {
    "missing_data": "inconclusive (missing data)",
    "too_few_clusters": "inconclusive (too few clusters)",
    "too_few_values": "inconclusive (too few different scores)",
    "too_few_items": "inconclusive (too few items)",
}


def flag_wording(flag: Flag, confidence: float, margin: float | None, unit: float) -> str:
    """The claim of one flag. ``unit``: 100 for points, 1 for the metric's own unit."""
    amount = "the margin" if margin is None else size(margin, unit)
    match flag:
        case "improved":
            return f"better ({confidence_text(confidence)})"
        case "regressed":
            return f"worse ({confidence_text(confidence)})"
        case "non_inferior":
            return f"not worse by more than {amount}"
        case "inferior_beyond_margin":
            return f"worse by more than {amount}"
        case "equivalent":
            return f"within ±{amount}"


def confidence_text(confidence: float) -> str:
    """``95 %``, or ``98.75 %``."""
    return f"{100 * confidence:.4g} %"


def p_text(p: float) -> str:
    """A p value: ``0.031``, ``<0.001``."""
    return "<0.001" if p < 0.001 else f"{p:.3f}" if p < 0.9995 else "1"


def unit_of(value_range: tuple[float, float] | None) -> float:
    """100 for metrics in [0, 1], whose differences are given in points; 1 for others."""
    return 100.0 if value_range == (0.0, 1.0) else 1.0


def number(value: float, unit: float, n: int = 0) -> str:
    """A difference without its unit; two decimals of a point from 2000 items, one below."""
    text = f"{value:.3g}" if unit == 1.0 else f"{unit * value:.{2 if n >= 2000 else 1}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def size(value: float, unit: float) -> str:
    """A margin with its unit: ``1 point``, ``0.5 points``, ``0.2``."""
    if unit == 1.0:
        return f"{value:g}"
    amount = f"{unit * value:.4g}"
    return f"{amount} point" if amount == "1" else f"{amount} points"


def comparison_wording(result: BenchmarkComparison) -> str:
    """The verdict of a comparison of one benchmark as a sentence without a full stop."""
    blocked = _blocked(result.verdict, result.reasons)
    difference = result.difference
    if blocked is not None and (difference is None or result.verdict != "inconclusive"):
        return blocked
    if difference is None:
        return "inconclusive"
    unit = unit_of(result.value_range)
    claimed = result.verdict in {"better", "worse", "worse_within_margin"}
    adjusted = difference.adjusted_interval
    interval = (
        adjusted
        if adjusted is not None and (claimed or result.verdict == "inconclusive")
        else difference.interval
    )
    limits = _limits(interval, unit, result.n_matched, named=blocked is not None)
    details = _details(limits, result.n_matched, result.flips, paired=result.paired)
    prefix = "" if result.paired else "unpaired: "
    head = _head(
        result.verdict, difference.estimate, interval, result.margin, unit, result.n_matched, blocked or ""
    )
    if result.verdict == "inconclusive" and blocked is None:
        head += _more(result)
    return f"{prefix}{head} ({details})"


def suite_wording(result: SuiteComparison, n: int) -> str:
    """The verdict of a suite; ``n`` is the number of items of all its benchmarks."""
    blocked = _blocked(result.verdict, result.reasons)
    difference = result.difference
    if difference is None:
        return blocked or "inconclusive"
    ranges = {each.value_range for each in result.benchmarks}
    unit = unit_of(ranges.pop()) if len(ranges) == 1 else 1.0
    head = _head(
        result.verdict, difference.estimate, difference.interval, result.margin, unit, n, blocked or ""
    )
    limits = _limits(difference.interval, unit, n, named=blocked is not None)
    count = len(result.benchmarks)
    return f"{head} ({limits}; {count} {'benchmark' if count == 1 else 'benchmarks'}, {n} items)"


def _blocked(verdict: Verdict, reasons: tuple[Note, ...]) -> str | None:
    """The sentence of a comparison without a verdict; None if there is one."""
    texts = "; ".join(dict.fromkeys(each.message for each in reasons))
    match verdict:
        case "not_comparable":
            return f"not comparable: {texts}"
        case "incomplete":
            return f"incomplete: {texts}"
        case "inconclusive" if reasons:
            return f"{VERDICT_HEADS.get(reasons[0].code, 'inconclusive')}: {texts}"
        case _:
            return None


def _head(
    verdict: Verdict,
    estimate: float,
    interval: Interval,
    margin: float | None,
    unit: float,
    n: int,
    blocked: str,
) -> str:
    points = "" if unit == 1.0 else " points"
    amount = number(abs(estimate), unit, n) + points
    limit = size(margin or 0.0, unit)
    match verdict:
        case "better":
            return f"better by {amount}"
        case "worse":
            return f"worse by {amount}"
        case "worse_within_margin":
            return f"worse by {amount}, but by less than {limit}"
        case "worse_beyond_margin":
            return f"worse by more than {limit}"
        case "equivalent":
            return f"within ±{limit}"
        case "not_worse":
            return f"not worse by more than {limit}"
        case "inconclusive" if blocked:
            return blocked
        case "inconclusive" if margin is not None:
            return f"inconclusive: the interval reaches {number(interval.low, unit, n)}, the margin is {number(-margin, unit, n)}"
        case "inconclusive":
            low, high = min(interval.low, 0.0), max(interval.high, 0.0)
            return (
                f"no difference shown; differences beyond {number(low, unit, n)} … +{number(high, unit, n)}{points} "
                "are ruled out"
            )
        case _:
            return blocked


def _more(result: BenchmarkComparison) -> str:
    """What would settle an inconclusive comparison, or why it is."""
    parts: list[str] = []
    changed = result.flips
    if changed is not None and result.paired and changed.fixed + changed.broken <= FEW_CHANGES:
        parts.append(f"too few changed answers to tell: {changed.fixed + changed.broken}")
    if result.margin is not None and result.precision is not None and result.precision.n_for_margin:
        parts.append(f"about {round_items(result.precision.n_for_margin)} items needed")
    if result.difference is not None and result.difference.borderline:
        parts.append("borderline")
    return "".join(f"; {part}" for part in parts)


def round_items(n: int) -> int:
    """A number of items with two significant digits."""
    if n < 100:
        return n
    scale = 10 ** (math.floor(math.log10(n)) - 1)
    return round(n / scale) * scale


def _limits(interval: Interval, unit: float, n: int, *, named: bool) -> str:
    """An interval; with the name of its unit where nothing before it has one."""
    points = " points" if named and unit != 1.0 else ""
    return (
        f"{confidence_text(interval.confidence)} interval {number(interval.low, unit, n)} to "
        f"{number(interval.high, unit, n)}{points}"
    )


def _details(text: str, n: int, flips: Flips | None, *, paired: bool) -> str:
    if not paired:
        return text
    text += f"; {n} paired items"
    if flips is not None:
        text += f"; {flips.fixed} fixed, {flips.broken} broken"
    return text
