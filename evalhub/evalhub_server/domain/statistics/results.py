"""Results of the statistics: scores, comparisons, leaderboards. They are encoded in answers of the REST API as they are.

Differences are oriented: positive means that the candidate is better, also for metrics where lower is better. Scores are
in the metric's own unit and direction.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from evalhub_server.domain.statistics.bootstrap import METHOD_VERSION
from evalhub_server.domain.statistics.evidence import DifferenceEvidence
from evalhub_server.domain.statistics.inputs import Note, WeightKind
from evalhub_server.domain.statistics.score_evidence import ScoreEvidence

Flag = Literal["improved", "regressed", "non_inferior", "inferior_beyond_margin", "equivalent"]
Verdict = Literal[
    "better",
    "worse",
    "worse_beyond_margin",
    "worse_within_margin",
    "equivalent",
    "not_worse",
    "inconclusive",
    "incomplete",
    "not_comparable",
]
"""``worse_within_margin``: worse, but by less than the margin. ``incomplete``: records are missing, so there is no verdict.
``not_comparable``: the runs differ in something that changes scores."""


class Interval(Struct, kw_only=True, frozen=True):
    """An interval with its confidence (0.95 is 95 %) and the name of its method."""

    low: float
    high: float
    confidence: float
    method: str


class Clustering(Struct, kw_only=True, frozen=True):
    """The effect of clusters on precision."""

    clusters: int
    design_effect: float | None = None
    """Variance with clusters over variance without; None if the latter is 0."""
    effective_n: float | None = None
    """Number of independent items with the same precision."""
    df: float
    """Degrees of freedom (Bell and McCaffrey)."""


class Repeats(Struct, kw_only=True, frozen=True):
    """Repeats per item, and how the variance divides into sampling noise and differences between items.

    The variances are None with one repeat per item: they cannot be estimated.
    """

    min_repeats: int
    max_repeats: int
    within_variance: float | None = None
    """Mean variance of an item's repeats."""
    between_variance: float | None = None
    """Variance of the items' expected scores."""
    noise_share: float | None = None
    """Share of the squared standard error that more repeats would remove."""
    se_floor: float | None = None
    """Standard error with infinitely many repeats."""


class ScoreSummary(Struct, kw_only=True, frozen=True):
    """The score of one run of one benchmark."""

    n_expected: int
    """Items that the run should have."""
    n_scored: int
    """Items with a score."""
    n_error: int
    """Items that failed, by the model or by the infrastructure."""
    n_missing: int
    """Expected items without a record."""
    value: float | None = None
    """The score; None without one."""
    interval: Interval | None = None
    """None where no interval is justified; ``notes`` has the reason."""
    n: int
    """Items that the score and its interval are computed from, failures that count as wrong included."""
    model_errors: str
    """Policy for failures that the model caused: ``wrong``, ``exclude`` or ``refuse``."""
    infrastructure_errors: str
    """Policy for other failures and missing items."""
    envelope: tuple[float, float] | None = None
    """Lowest and highest limit if all failed and missing items had the worst or the best score; None without such items
    or without a range."""
    clustering: Clustering | None = None
    repeats: Repeats | None = None
    evidence: ScoreEvidence | None = None
    notes: tuple[Note, ...] = ()


class Difference(Struct, kw_only=True, frozen=True):
    """A difference between candidate and baseline, positive if the candidate is better, with its own interval and test."""

    estimate: float
    interval: Interval
    p: float
    """Two-sided p value of no difference."""
    test: str
    """Name of the test."""
    p_adjusted: float | None = None
    """Holm's p value over the benchmarks of the suite; None for a single comparison."""
    adjusted_interval: Interval | None = None
    """Interval at the level of Holm's decision (Holm-step); it excludes 0 if and only if ``p_adjusted`` is at most alpha,
    except for borderline tables."""
    borderline: bool = False
    """The interval excludes 0 and the test does not reject: not significant."""


class Flips(Struct, kw_only=True, frozen=True):
    """Items whose score changed. For real-valued metrics: items with a better and with a worse score."""

    fixed: int
    broken: int
    fixed_ids: tuple[str, ...]
    """Sample ids, the largest change first; at most ``max_sample_ids``."""
    broken_ids: tuple[str, ...]
    discordance: float
    """Share of the matched items that changed."""


class MissingExtreme(Struct, kw_only=True, frozen=True):
    """The comparison with all failed and missing items of one side at the worst score and of the other at the best."""

    estimate: float
    low: float
    high: float
    flags: tuple[Flag, ...]
    evidence: DifferenceEvidence


class MissingExtremes(Struct, kw_only=True, frozen=True):
    """What failed and missing items could change at most. Both None: the metric has no range."""

    n: int
    """Items with a failed or missing score on either side."""
    worst: MissingExtreme | None = None
    """Candidate's missing items at the worst score, baseline's at the best."""
    best: MissingExtreme | None = None
    verdict_differs: bool


class Precision(Struct, kw_only=True, frozen=True):
    """What the samples at hand support, in the metric's unit."""

    smallest_margin: float | None = None
    """Margins up to this one can never be confirmed with these samples, even if no item changed."""
    detectable_difference: float | None = None
    """Difference that is found with a power of 80 %; None if no difference is."""
    n_for_margin: int | None = None
    """Items needed to confirm the margin with a power of 80 % if nothing changed; None without a margin."""


class BenchmarkComparison(Struct, kw_only=True, frozen=True):
    """The comparison of two runs of one benchmark."""

    name: str
    provider_id: str
    benchmark_id: str
    metric: str
    lower_is_better: bool
    verdict: Verdict
    wording: str
    """The verdict as a sentence."""
    reasons: tuple[Note, ...] = ()
    """Why there is no verdict, or none but ``inconclusive``."""
    warnings: tuple[Note, ...] = ()
    flags: tuple[Flag, ...] = ()
    paired: bool = False
    n_baseline: int = 0
    """Items of the baseline."""
    n_candidate: int = 0
    n_matched: int = 0
    """Items with a score on both sides, after the policies for failures."""
    n_only_baseline: int = 0
    n_only_candidate: int = 0
    baseline: ScoreSummary | None = None
    candidate: ScoreSummary | None = None
    difference: Difference | None = None
    flips: Flips | None = None
    missing: MissingExtremes | None = None
    precision: Precision | None = None
    clustering: Clustering | None = None
    margin: float | None = None
    alpha: float = 0.05
    weight: float = 1.0
    value_range: tuple[float, float] | None = None
    """Declared range of the metric; (0, 1) for right and wrong answers."""
    evidence: DifferenceEvidence | None = None
    """Sufficient statistics of the difference: gates and other margins need no samples."""


class SuiteScore(Struct, kw_only=True, frozen=True):
    """A weighted mean of scores; metrics where lower is better contribute ``low + high - value``."""

    value: float
    low: float
    high: float


class SuiteDifference(Struct, kw_only=True, frozen=True):
    """A weighted mean of differences with its interval and the p value that inverts it."""

    weights: WeightKind
    estimate: float
    interval: Interval
    p: float
    test: str = "MOVER, inverted"


class SuiteComparison(Struct, kw_only=True, frozen=True):
    """The comparison of two jobs: the suite first, then its benchmarks."""

    verdict: Verdict
    wording: str
    difference: SuiteDifference | None = None
    alternatives: tuple[SuiteDifference, ...]
    """The same with other weights, if their sign differs (Simpson's paradox)."""
    baseline: SuiteScore | None = None
    candidate: SuiteScore | None = None
    weights: dict[str, float]
    """Weight of each benchmark of the suite, normalised to a sum of 1."""
    benchmarks: tuple[BenchmarkComparison, ...]
    alpha: float
    flags: tuple[Flag, ...] = ()
    margin: float | None = None
    adjustment: str = "Holm over all benchmarks; intervals of each benchmark at the level of Holm's decision"
    reasons: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()
    method_version: str = METHOD_VERSION
    n_candidates: int = 1
    """Candidates that were compared with the baseline: the p value of the chosen one is adjusted over these."""
    p_adjusted: float | None = None
    """Holm's p value over the candidates; None with one candidate."""


class Rank(Struct, kw_only=True, frozen=True):
    """A model's place in a ranking with the range of ranks that the data do not exclude (simultaneous confidence)."""

    model: str
    job_id: str
    score: float
    interval: Interval | None = None
    best_rank: int
    """1 + the number of models that are significantly better."""
    worst_rank: int
    """Number of models - the number that are significantly worse."""
    tied_with_best: bool
    """Not shown to be worse than any other model."""


class PairTest(Struct, kw_only=True, frozen=True):
    """The test of two models; ``difference`` is positive if ``first`` is better."""

    first: str
    second: str
    difference: float
    p: float
    p_adjusted: float


class Ranking(Struct, kw_only=True, frozen=True):
    """A ranking of models on one benchmark, or on the suite, the best score first."""

    name: str
    """Name of the benchmark; empty for the suite."""
    metric: str
    n_common: int
    """Items that all ranked models have in common."""
    ranks: tuple[Rank, ...]
    pairs: tuple[PairTest, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    """Largest groups of models of which no pair is shown to differ, best first: two models differ if and only if no group has
    both. Empty with more than 26 groups."""
    not_ranked: tuple[Note, ...] = ()
    """Models without a place, with the reason; ``code`` is the model."""
    warnings: tuple[Note, ...] = ()


class Leaderboard(Struct, kw_only=True, frozen=True):
    """Rankings of models: the suite, then each benchmark."""

    alpha: float
    weights: WeightKind
    suite: Ranking | None = None
    """None if no two models have all benchmarks."""
    benchmarks: tuple[Ranking, ...]
    adjustment: str = "Holm over all pairs of models"
    method_version: str = METHOD_VERSION
