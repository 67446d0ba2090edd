"""Signs and words of comparisons on pages; the sentences are the API's."""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_server.domain.statistics.results import (
    BenchmarkComparison,
    Difference,
    Interval,
    ScoreSummary,
    SuiteComparison,
    SuiteDifference,
    Verdict,
)
from evalhub_server.domain.statistics.wording import confidence_text, p_text
from evalhub_server.viewer.charts.intervals import Verdict as Side
from evalhub_server.viewer.numbers import MISSING, decimals, delta, interval, score_with_interval

SIDES: Mapping[Verdict, Side] = {
    "better": "better",
    "worse": "worse",
    "worse_beyond_margin": "worse",
    "worse_within_margin": "worse",
}
"""Verdicts with a direction."""

ATTENTION: tuple[Verdict, ...] = (
    "worse_beyond_margin",
    "worse",
    "worse_within_margin",
    "not_comparable",
    "incomplete",
    "inconclusive",
    "not_worse",
    "equivalent",
    "better",
)
"""Verdicts in the order in which a table has them: what needs attention first."""

_WORDS: Mapping[Verdict, str] = {
    "better": "▲ better",
    "worse": "▼ worse",
    "worse_beyond_margin": "▼ worse than the margin",
    "worse_within_margin": "▼ worse, within the margin",
    "equivalent": "= within the margin",
    "not_worse": "≥ not worse",
    "incomplete": "! incomplete",
    "not_comparable": "≠ not comparable",
}

LABELS: Mapping[str, str] = {
    "flips": "changed answers",
    "all": "all samples",
    "broken": "broken",
    "fixed": "fixed",
    "both_failed": "both failed",
    "both_passed": "both passed",
    "unchanged": "unchanged",
    "not_scored": "not scored",
    "only_baseline": "only in A",
    "only_candidate": "not in A",
    "other_content": "other content",
}
"""Words for the changes of samples."""

GLYPHS: Mapping[str, str] = {
    "broken": "▼",
    "fixed": "▲",
    "both_failed": "✕",
    "both_passed": "✓",
    "unchanged": "=",
    "not_scored": "–",
    "only_baseline": "A",
    "only_candidate": "∌",
}


def verdict_word(result: BenchmarkComparison | SuiteComparison) -> str:
    """The sign and the word of a verdict."""
    if result.verdict == "inconclusive":
        return "? inconclusive" if result.reasons or result.margin is not None else "○ no difference shown"
    return _WORDS[result.verdict]


def verdict_class(result: BenchmarkComparison | SuiteComparison) -> str:
    """The class of a verdict: ``good``, ``bad``, ``warn`` or ``muted``."""
    if result.verdict in ("incomplete", "not_comparable"):
        return "warn"
    return {"better": "good", "worse": "bad"}.get(side_of(result.verdict), "muted")


def side_of(verdict: Verdict) -> Side:
    """The direction that charts show."""
    return SIDES.get(verdict, "inconclusive")


def summary(score: ScoreSummary | None, places: int | None = None) -> str:
    """A score with its interval. ``places``: decimals of the column."""
    if score is None:
        return MISSING
    low, high = (score.interval.low, score.interval.high) if score.interval else (None, None)
    return score_with_interval(score.value, low, high, places)


def difference(found: Difference | SuiteDifference, places: int | None = None) -> str:
    """A difference with its interval, that of Holm's decision if there is one."""
    limits = limits_of(found)
    if places is None:
        places = max(decimals([half_width(limits)]), 3)
    return f"{delta(found.estimate, places)} {interval(limits.low, limits.high, places)}"


def limits_of(found: Difference | SuiteDifference) -> Interval:
    """The interval to show: that at the level of Holm's decision, if there is one."""
    adjusted = found.adjusted_interval if isinstance(found, Difference) else None
    return adjusted or found.interval


def half_width(limits: Interval | None) -> float | None:
    return None if limits is None else (limits.high - limits.low) / 2


def confidence(found: Difference | SuiteDifference) -> str:
    """The confidence of the interval to show: ``95 % interval``."""
    return f"{confidence_text(limits_of(found).confidence)} interval"


def p_value(p: float | None) -> str:
    """A p value; empty without one."""
    return "" if p is None else p_text(p)
