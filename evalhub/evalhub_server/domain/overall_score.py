"""The score of a job with several benchmarks, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from evalhub_server.domain.comparison_inputs import rules_of
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.mover import mover
from evalhub_server.domain.statistics.results import SuiteScore


def overall_score(view: LineageView, scores: Sequence[ScoredBenchmark]) -> SuiteScore | None:
    """The weighted mean of the primary scores of a job, by MOVER from the intervals of its benchmarks.

    ``scores`` are those of the benchmarks of ``view``. The benchmarks are those of the job's test, with the same weights, and
    count with ``1 - score`` where lower is better. None unless the view is complete and at least two benchmarks count, all of
    which have an interval and a declared range and no two the same samples: intervals of a sum need independent parts.
    """
    counted = {name: each for name, each in view.items() if _counts(each)}
    keys = {(each.planned.provider_id, each.planned.id) for each in counted.values()}
    if not all(each.completed for each in view.values()) or len(counted) < 2 or len(keys) < len(counted):
        return None
    found = {each.name: each for each in scores}
    parts = [_part(each, found.get(name)) for name, each in counted.items()]
    weights = [each.planned.weight for each in counted.values()]
    usable = [part for part in parts if part is not None]
    if len(usable) < len(parts):
        return None
    total = sum(weights)
    shares = [weight / total for weight in weights]
    value, low, high = mover(shares, [part[0] for part in usable], [part[1:] for part in usable])
    return SuiteScore(value=value, low=low, high=high)


def _counts(source: Source) -> bool:
    """Whether a benchmark is part of the job's test."""
    result = source.record.result
    return result is not None and result.test is not None and source.planned.weight > 0


def _part(source: Source, score: ScoredBenchmark | None) -> tuple[float, float, float] | None:
    """Score and limits of a benchmark as they count; None if it has no interval, or a range that is not declared."""
    rules = rules_of(source.planned)
    summary = score.summary if score else None
    if (
        summary is None
        or summary.value is None
        or summary.interval is None
        or None in (rules.low, rules.high)
    ):
        return None
    value, low, high = summary.value, summary.interval.low, summary.interval.high
    if not rules.lower_is_better:
        return value, low, high
    return (1 - value, 1 - high, 1 - low) if (rules.low, rules.high) == (0.0, 1.0) else None
