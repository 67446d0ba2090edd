"""Results of quality gates, encoded in answers and reports as they are."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from evalhub_server.domain.statistics.policy import GateKind
from evalhub_server.domain.statistics.results import Flag, Note, ScoreSummary, SuiteDifference

GateOutcome = Literal["pass", "fail", "inconclusive", "incomplete"]
EXIT_CODES: dict[GateOutcome, int] = {"pass": 0, "fail": 1, "inconclusive": 2, "incomplete": 3}
"""Exit statuses of the gate command. Usage errors are 64."""


class GateRow(Struct, kw_only=True, frozen=True):
    """The outcome of a gate for one benchmark."""

    name: str
    kind: GateKind
    required: bool
    outcome: GateOutcome
    wording: str
    """The outcome as a sentence, with interval, margin or threshold, and number of items."""
    n: int = 0
    """Items that the outcome is based on."""
    margin: float | None = None
    """Margin in the metric's unit, also if it was given as a share of the baseline's score."""
    threshold: float | None = None
    low: float | None = None
    """Limits of the difference, or of the score for a threshold, at plain confidence."""
    high: float | None = None
    p_fail: float | None = None
    """One-sided p value of the failure; small if the benchmark clearly fails."""
    p_fail_adjusted: float | None = None
    """The same after Holm over the required benchmarks; a failure needs at most alpha/2."""
    flags: tuple[Flag, ...] = ()
    n_needed: int | None = None
    """Items needed for this margin if nothing changed, with a power of 80 %."""
    smallest_margin: float | None = None
    """Margins up to this one cannot be confirmed with these items."""
    reasons: tuple[Note, ...] = ()


class GateResult(Struct, kw_only=True, frozen=True):
    """The outcome of a gate. Nothing evaluated is never a pass."""

    outcome: GateOutcome
    exit_code: int
    wording: str
    alpha: float
    attempt: int
    """Number of the evaluation of this gate for the same change; repeating until it passes voids the confidence."""
    benchmarks: tuple[GateRow, ...]
    suite: SuiteDifference | None = None
    """Weighted mean of the differences; it does not decide."""
    warnings: tuple[Note, ...] = ()


class ScoredBenchmark(Struct, kw_only=True, frozen=True):
    """The score of a run with what a threshold needs to know of its metric."""

    name: str
    """Unique in the job."""
    provider_id: str = ""
    benchmark_id: str = ""
    metric: str
    lower_is_better: bool
    summary: ScoreSummary
