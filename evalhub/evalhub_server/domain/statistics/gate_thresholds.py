"""Gates on the score of one run: a threshold compared with the limit of the score's interval."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.statistics.clusters import MIN_CLUSTERS, MIN_DF
from evalhub_server.domain.statistics.gate_results import GateOutcome, GateRow, ScoredBenchmark
from evalhub_server.domain.statistics.gate_wording import threshold_row_wording
from evalhub_server.domain.statistics.inputs import INCOMPLETE_CODES
from evalhub_server.domain.statistics.policy import GateBenchmark
from evalhub_server.domain.statistics.results import Note, ScoreSummary
from evalhub_server.domain.statistics.score import too_few_distinct
from evalhub_server.domain.statistics.score_evidence import ClusteredScores

_INCOMPLETE_CODES = {
    "too_many_excluded",
    "duplicate_samples",
    "out_of_range",
    "bad_range",
    "not_a_mean",
    "score_differs",
    *INCOMPLETE_CODES,
}


def threshold_row(name: str, entry: GateBenchmark, scored: ScoredBenchmark | None, alpha: float) -> GateRow:
    """The outcome of a threshold for one benchmark, before the adjustment of failures.

    Passing needs the lower limit at the threshold or above, failing the upper limit below it; mirrored where lower is
    better. ``confidence: point`` compares the score itself.
    """
    threshold = entry.threshold if entry.threshold is not None else 0.0
    row = GateRow(
        name=name,
        kind="threshold",
        required=entry.required,
        outcome="incomplete",
        wording="",
        threshold=threshold,
    )
    if scored is None or scored.summary.value is None:
        return _stopped(row, "incomplete", Note(code="not_run", message="there is no score"))
    summary, value = scored.summary, scored.summary.value
    row = replace(row, n=summary.n)
    if entry.confidence == "point":
        passed = value <= threshold if scored.lower_is_better else value >= threshold
        row = replace(row, outcome="pass" if passed else "fail", p_fail=1.0 if passed else 0.0)
        return replace(
            row, wording=threshold_row_wording(row, value, alpha, scored.lower_is_better, point=True)
        )
    if stopped := _not_usable(summary):
        return _stopped(row, "incomplete", stopped)
    evidence = summary.evidence
    if evidence is None:
        return _stopped(row, "incomplete", Note(code="no_interval", message="the score has no interval"))
    low, high = evidence.limits(alpha, gate=True)
    p_fail = evidence.upper_p(threshold) if scored.lower_is_better else evidence.lower_p(threshold)
    row = replace(row, low=low, high=high, p_fail=p_fail)
    if too_few_distinct(evidence) or low == high:
        note = Note(
            code="too_few_values", message="the metric has no declared range, and its scores are nearly equal"
        )
        return _stopped(row, "inconclusive", note)
    if isinstance(evidence, ClusteredScores) and (evidence.clusters < MIN_CLUSTERS or evidence.df < MIN_DF):
        note = Note(
            code="too_few_clusters", message=f"{evidence.clusters} clusters are too few for a verdict"
        )
        return _stopped(row, "inconclusive", note)
    outcome = interval_outcome((low, high), threshold, lower_is_better=scored.lower_is_better)
    if (summary.n_error or summary.n_missing) and (
        summary.envelope is None
        or interval_outcome(summary.envelope, threshold, lower_is_better=scored.lower_is_better) != outcome
    ):
        failed = summary.n_error + summary.n_missing
        note = Note(
            code="missing_data", message=f"{failed} failed or missing samples could change the outcome"
        )
        return _stopped(row, "inconclusive", note)
    row = replace(row, outcome=outcome)
    return replace(row, wording=threshold_row_wording(row, value, alpha, scored.lower_is_better))


def interval_outcome(limits: tuple[float, float], threshold: float, *, lower_is_better: bool) -> GateOutcome:
    """``pass`` if the whole interval is on the passing side of the threshold, ``fail`` if none of it is."""
    low, high = limits
    if lower_is_better:
        return "pass" if high <= threshold else "fail" if low > threshold else "inconclusive"
    return "pass" if low >= threshold else "fail" if high < threshold else "inconclusive"


def _not_usable(summary: ScoreSummary) -> Note | None:
    return next((note for note in summary.notes if note.code in _INCOMPLETE_CODES), None)


def _stopped(row: GateRow, outcome: GateOutcome, note: Note) -> GateRow:
    head = "inconclusive" if outcome == "inconclusive" else "incomplete"
    return replace(
        row,
        outcome=outcome,
        p_fail=None if row.p_fail is None else 1.0,
        reasons=(note,),
        wording=f"{head}: {note.message}",
    )
