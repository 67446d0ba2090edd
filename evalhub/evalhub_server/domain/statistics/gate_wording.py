"""The sentences of a gate's outcome."""

from __future__ import annotations

from evalhub_server.domain.statistics.gate_results import GateResult, GateRow
from evalhub_server.domain.statistics.wording import confidence_text, round_items


def difference_row_wording(row: GateRow, alpha: float) -> str:
    """The outcome of a benchmark that is compared with its baseline, in the metric's unit."""
    interval = _interval(row, alpha)
    reason = f": {'; '.join(each.message for each in row.reasons)}" if row.reasons else ""
    if row.outcome == "inconclusive" and reason:
        return f"inconclusive{reason} ({interval})"
    if row.kind == "superiority":
        texts = {"pass": "better", "fail": "worse", "inconclusive": "inconclusive: the interval contains 0"}
        return f"{texts.get(row.outcome, row.outcome)} ({interval})"
    margin = f"{row.margin or 0.0:.4g}"
    match row.outcome:
        case "pass":
            text = f"not worse by more than {margin}"
            text = f"worse, but by less than {margin}" if "regressed" in row.flags else text
        case "fail":
            text = f"worse by more than {margin}"
        case _:
            needed = f"; about {round_items(row.n_needed)} items needed" if row.n_needed else ""
            text = f"inconclusive: the interval reaches {_number(row.low)}, the margin is {_number(-(row.margin or 0))}{needed}"
    return f"{text} ({interval})"


def threshold_row_wording(
    row: GateRow, value: float, alpha: float, lower_is_better: bool, *, point: bool = False
) -> str:
    """The outcome of a threshold."""
    side = "at most" if lower_is_better else "at least"
    limit = f"{side} {row.threshold:g}"
    if point:
        verb = "is" if row.outcome == "pass" else "is not"
        return f"score {value:.4g} {verb} {limit} (point estimate, no confidence)"
    match row.outcome:
        case "pass":
            text = f"score {value:.4g} is {limit}"
        case "fail":
            text = f"score {value:.4g} is not {limit}"
        case _:
            text = (
                f"inconclusive: score {value:.4g}, and the interval contains the threshold {row.threshold:g}"
            )
    return f"{text} ({_interval(row, alpha)})"


def gate_wording(result: GateResult) -> str:
    """The outcome of the whole gate."""
    required = [each for each in result.benchmarks if each.required]
    names = [each.name for each in required if each.outcome == result.outcome]
    total = len(required)
    match result.outcome:
        case "pass":
            return f"pass: {total} of {total} required benchmarks pass at {confidence_text(1 - result.alpha)}"
        case "incomplete" if not required:
            return "incomplete: no required benchmark was evaluated"
        case outcome:
            return f"{outcome}: {', '.join(names)} ({len(names)} of {total} required benchmarks)"


def _interval(row: GateRow, alpha: float) -> str:
    n = f"; {row.n} items" if row.n else ""
    return f"{confidence_text(1 - alpha)} interval {_number(row.low)} to {_number(row.high)}{n}"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.4g}".replace("-", "\N{MINUS SIGN}")
