"""The score of one run of one benchmark, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalhub_server.domain.statistics.clusters import FEW_CLUSTERS, cluster_robust_mean
from evalhub_server.domain.statistics.columns import Prepared, prepare
from evalhub_server.domain.statistics.distributions import mean_and_sd
from evalhub_server.domain.statistics.inputs import CompareOptions, Run
from evalhub_server.domain.statistics.intervals import GUARD_BELOW, nonmodal_count
from evalhub_server.domain.statistics.repeats import decompose_repeats
from evalhub_server.domain.statistics.results import Clustering, Interval, Note, Repeats, ScoreSummary
from evalhub_server.domain.statistics.score_evidence import (
    BoundedMean,
    ClusteredScores,
    Proportion,
    ReportedScore,
    ScoreEvidence,
    UnboundedMean,
)

SAME_SCORE = 1e-6
"""A reported score may differ from the mean of the samples by this much."""
SMALL_UNBOUNDED = 50
MAX_EXCLUDED_SHARE = 0.01
MAX_ABSENT = 10_000
"""With more absent items than scores and this, the envelope is the whole range."""


def score_run(run: Run, options: CompareOptions | None = None) -> ScoreSummary:
    """The score of a run, its interval, and what is to be known about both.

    Without samples, or where the samples do not explain the reported score, the reported score is shown; an interval then
    comes from the harness's standard error, if it reported one, and only without samples.

    Raises:
        ValueError: the columns of the items have different lengths.
    """
    options = options or CompareOptions()
    if run.items is None:
        return _reported(run, options)
    return score_prepared(prepare(run, options), options)


def score_prepared(prepared: Prepared, options: CompareOptions) -> ScoreSummary:
    """The score of a run whose items are prepared."""
    header, rules = prepared.run.header, prepared.run.rules
    rows = [row for row, value in enumerate(prepared.values) if value is not None]
    values = [value for value in prepared.values if value is not None]
    notes = [*prepared.problems, *prepared.run.incomplete]
    value = math.fsum(values) / len(values) if values else None
    if rules.aggregation == "other":
        notes.append(
            Note(
                code="not_a_mean",
                message=f"'{rules.metric}' is not the mean of the samples' scores, so there is no interval",
            )
        )
    elif (mismatch := _mismatch(prepared, value)) is not None:
        notes.append(mismatch)
    unusable = bool(notes)
    if unusable and header.reported_value is not None:
        value = header.reported_value
    evidence = None
    clustering = None
    if not unusable and values:
        evidence, clustering, more = _evidence(prepared, rows, values)
        notes += more
    notes += _failure_notes(prepared)
    return ScoreSummary(
        n_expected=prepared.n_expected,
        n_scored=len(prepared.ids) - prepared.n_error - _marked_missing(prepared),
        n_error=prepared.n_error,
        n_missing=prepared.n_missing,
        value=value,
        interval=None if evidence is None else _interval(evidence, options.alpha),
        n=len(values),
        model_errors=options.model_errors,
        infrastructure_errors=options.infrastructure_errors,
        envelope=None if unusable else _envelope(prepared, options.alpha),
        clustering=clustering,
        repeats=_repeats(prepared),
        evidence=evidence,
        notes=tuple(notes),
    )


def plain_evidence(
    values: Sequence[float], *, binary: bool, bounds: tuple[float, float] | None
) -> Proportion | BoundedMean | UnboundedMean | None:
    """The evidence of independent scores; None for fewer than two real-valued ones."""
    n = len(values)
    if binary and n:
        return Proportion(n=n, successes=round(math.fsum(values)))
    if n < 2:
        return None
    mean, sd = mean_and_sd(values)
    nonmodal = nonmodal_count(values)
    if bounds is None:
        return UnboundedMean(n=n, mean=mean, sd=sd, nonmodal=nonmodal)
    return BoundedMean(n=n, mean=mean, sd=sd, low=bounds[0], high=bounds[1], nonmodal=nonmodal)


def cluster_keys(prepared: Prepared, rows: Sequence[int]) -> list[str] | None:
    """The cluster of each row, None unless the metric declares clusters. An item without one is a cluster of its own."""
    if prepared.run.rules.groups != "clusters" or not prepared.clusters:
        return None
    keys: list[str] = []
    for row in rows:
        cluster = prepared.clusters[row]
        keys.append(f"item\x00{prepared.ids[row]}" if cluster is None else f"cluster\x00{cluster}")
    return keys


def _evidence(
    prepared: Prepared, rows: Sequence[int], values: Sequence[float]
) -> tuple[ScoreEvidence | None, Clustering | None, list[Note]]:
    plain = plain_evidence(values, binary=prepared.binary, bounds=prepared.bounds)
    notes: list[Note] = []
    if plain is None:
        return None, None, [Note(code="too_few_items", message="one score has no interval")]
    if isinstance(plain, UnboundedMean) and plain.n < SMALL_UNBOUNDED:
        notes.append(
            Note(
                code="small_unbounded",
                message=f"the metric has no declared range, and {plain.n} scores are few: if they are skewed, the interval is "
                "too narrow",
            )
        )
    keys = cluster_keys(prepared, rows)
    if keys is None:
        return plain, None, notes
    if len(set(keys)) < 2:
        notes.append(
            Note(code="too_few_clusters", message="all items are of one cluster, so there is no interval")
        )
        return None, None, notes
    clustered = cluster_robust_mean(values, keys)
    if clustered.clusters < FEW_CLUSTERS:
        notes.append(
            Note(
                code="few_clusters",
                message=f"{clustered.clusters} clusters are few: the interval may be too narrow",
            )
        )
    effect = clustered.design_effect
    return (
        ClusteredScores(scores=plain, clusters=clustered.clusters, se=clustered.cr2_se, df=clustered.df),
        Clustering(
            clusters=clustered.clusters,
            design_effect=effect,
            effective_n=len(values) / effect if effect else None,
            df=clustered.df,
        ),
        notes,
    )


def _interval(evidence: ScoreEvidence, alpha: float) -> Interval:
    low, high = evidence.limits(alpha)
    return Interval(low=low, high=high, confidence=1 - alpha, method=evidence.method)


def _mismatch(prepared: Prepared, value: float | None) -> Note | None:
    """The note that the samples do not explain the reported score."""
    reported = prepared.run.header.reported_value
    if reported is None or value is None or not math.isfinite(reported):
        return None
    if any(abs(each - reported) <= SAME_SCORE for each in (value, *prepared.raw_means)):
        return None
    return Note(
        code="score_differs",
        message=f"the reported score is {reported:.6g}, the mean of the samples {value:.6g}: the reported score is shown, "
        "without an interval",
    )


def _failure_notes(prepared: Prepared) -> list[Note]:
    notes: list[Note] = []
    if prepared.n_error:
        notes.append(
            Note(code="failed_samples", message=f"{prepared.n_error} of {prepared.n_expected} samples failed")
        )
    if prepared.n_missing:
        notes.append(
            Note(
                code="missing_samples",
                message=f"{prepared.n_missing} of {prepared.n_expected} samples are missing",
            )
        )
    if prepared.n_excluded > MAX_EXCLUDED_SHARE * prepared.n_expected:
        notes.append(
            Note(
                code="too_many_excluded",
                message=f"{prepared.n_excluded} failed samples are left out, more than 1 % of {prepared.n_expected}",
            )
        )
    return notes


def _marked_missing(prepared: Prepared) -> int:
    return prepared.n_missing - (prepared.n_expected - len(prepared.ids))


def _envelope(prepared: Prepared, alpha: float) -> tuple[float, float] | None:
    """Outermost limits with failed and missing items at either end of the range."""
    worst, best = prepared.worst_score, prepared.best_score
    if not prepared.incomplete or worst is None or best is None:
        return None
    scored = [value for value in prepared.values if value is not None]
    absent = prepared.n_expected - len(prepared.ids)
    if absent > len(scored) + MAX_ABSENT:
        return min(worst, best), max(worst, best)
    limits = [
        limit
        for column, fill in ((prepared.worst, worst), (prepared.best, best))
        if (
            evidence := plain_evidence(
                [*(column or scored), *[fill] * absent], binary=prepared.binary, bounds=prepared.bounds
            )
        )
        is not None
        for limit in evidence.limits(alpha)
    ]
    return (min(limits), max(limits)) if limits else None


def _repeats(prepared: Prepared) -> Repeats | None:
    groups = [each for each in prepared.repeats if each]
    if len(groups) < 2:
        return None
    result = decompose_repeats(groups)
    counts = [len(each) for each in groups]
    return Repeats(
        min_repeats=min(counts),
        max_repeats=max(counts),
        within_variance=result.mean_within_variance,
        between_variance=result.between_variance,
        noise_share=result.noise_share,
        se_floor=result.se_floor,
    )


def _reported(run: Run, options: CompareOptions) -> ScoreSummary:
    header = run.header
    value = header.reported_value
    if value is not None and not math.isfinite(value):
        value = None
    evidence = None
    known = value is not None and not run.incomplete
    if (
        known
        and value is not None
        and header.reported_stderr is not None
        and 0 < header.reported_stderr < math.inf
    ):
        evidence = ReportedScore(value=value, stderr=header.reported_stderr)
    expected = header.n_expected or 0
    return ScoreSummary(
        n_expected=expected,
        n_scored=0,
        n_error=0,
        n_missing=expected,
        value=value,
        interval=None if evidence is None else _interval(evidence, options.alpha),
        n=0,
        model_errors=options.model_errors,
        infrastructure_errors=options.infrastructure_errors,
        evidence=evidence,
        notes=(*run.incomplete, Note(code="no_samples", message="there are no per-sample results")),
    )


def too_few_distinct(evidence: ScoreEvidence) -> bool:
    """An unbounded metric whose scores are nearly all equal: no verdict."""
    inner = evidence.scores if isinstance(evidence, ClusteredScores) else evidence
    return isinstance(inner, UnboundedMean) and inner.nonmodal < GUARD_BELOW
