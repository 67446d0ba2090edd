"""A run's items prepared for comparison: checked once, repeats averaged, one value per sample id."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct

from evalhub_server.domain.statistics.inputs import CompareOptions, ItemStatus, MissingPolicy, Run, RunItems
from evalhub_server.domain.statistics.results import Note

T = TypeVar("T")

MAX_ABS_SCORE = 1e100
"""A score beyond it counts as a failure, like infinity: sums of squares must stay finite."""
MAX_EXAMPLES = 3
"""Sample ids named in a message."""


class Prepared(Struct, kw_only=True, frozen=True):
    """The items of a run, one row per sample id; rows of all columns belong together.

    ``values`` has the score after the policies for failures, None without one; ``worst`` and ``best`` have it with failures
    at either end of the range (empty without failures). ``problems`` rule out every use of the items.
    """

    run: Run
    ids: tuple[str, ...]
    rows: dict[str, int]
    values: list[float | None]
    worst: list[float]
    best: list[float]
    key_hashes: list[str | bytes | None]
    clusters: list[str | None]
    binary: bool
    """Every score is 0 or 1, with one repeat per item."""
    bounds: tuple[float, float] | None
    """Range of the metric; (0, 1) for right and wrong answers."""
    repeats: list[list[float]]
    """Scores of each item's repeats; empty with one repeat per item."""
    n_error: int
    n_excluded: int
    """Failed items that are left out."""
    n_refused: int
    """Items with a failure whose policy is ``refuse``."""
    n_missing: int
    n_expected: int
    raw_means: tuple[float, ...]
    """Means that an adapter may have reported: of all scores, with failures left out or as wrong."""
    problems: tuple[Note, ...]

    @property
    def worst_score(self) -> float | None:
        """The score of a failure that counts as wrong; None without a range."""
        if self.bounds is None:
            return None
        return self.bounds[1] if self.run.rules.lower_is_better else self.bounds[0]

    @property
    def best_score(self) -> float | None:
        if self.bounds is None:
            return None
        return self.bounds[0] if self.run.rules.lower_is_better else self.bounds[1]

    @property
    def incomplete(self) -> bool:
        """Some item has no score of its own."""
        return bool(self.worst) or self.n_expected > len(self.ids)


class _Scores(Struct, kw_only=True, frozen=True):
    """What the policies for failures make of the rows of each item."""

    values: list[float | None]
    worst: list[float]
    best: list[float]
    repeats: list[list[float]]
    n_error: int
    n_excluded: int
    n_refused: int
    n_missing: int
    raw_means: tuple[float, ...]


def prepare(run: Run, options: CompareOptions) -> Prepared:
    """Check a run's items and reduce them to one row per sample id.

    Raises:
        ValueError: the columns have different lengths, or the run has no items.
    """
    items = run.items
    if items is None:
        raise ValueError(f"the run of {run.name} has no samples")
    _check_lengths(items)
    scores, statuses = _clean(items)
    ids, groups, duplicates = _grouped(items)
    problems = [*run.problems, *_range_problems(run, scores)]
    if duplicates:
        problems.append(
            Note(
                code="duplicate_samples",
                message=f"{len(duplicates)} samples occur more than once in the same epoch, such as "
                f"{examples(duplicates)}; no score can be chosen among them",
            )
        )
    low, high = run.rules.low, run.rules.high
    declared = None if low is None or high is None else (low, high)
    binary = groups is None and declared in {None, (0.0, 1.0)} and set(scores) <= {0.0, 1.0, None}
    bounds = (0.0, 1.0) if binary else declared
    fill = bounds or (math.nan, math.nan)
    if run.rules.lower_is_better:
        fill = (fill[1], fill[0])
    policies = _Policies(options, fill, bounded=bounds is not None)
    if groups is None:
        result = _single(scores, statuses, policies)
    else:
        result = _repeated(scores, statuses, groups, policies)
    expected = max(len(ids), run.header.n_expected or 0)
    return Prepared(
        run=run,
        ids=tuple(ids),
        rows={name: row for row, name in enumerate(ids)},
        values=result.values,
        worst=result.worst,
        best=result.best,
        key_hashes=_first_of(items.key_hashes, groups),
        clusters=_first_of(items.clusters, groups),
        binary=binary,
        bounds=bounds,
        repeats=result.repeats,
        n_error=result.n_error,
        n_excluded=result.n_excluded,
        n_refused=result.n_refused,
        n_missing=result.n_missing + expected - len(ids),
        n_expected=expected,
        raw_means=result.raw_means,
        problems=tuple(problems),
    )


class _Policies:
    """The score that a failed row counts with."""

    def __init__(self, options: CompareOptions, fill: tuple[float, float], *, bounded: bool) -> None:
        self.options = options
        self.worst, self.best = fill
        self.bounded = bounded

    def of(self, status: ItemStatus) -> MissingPolicy:
        """The policy for a failure."""
        return self.options.model_errors if status == "model_error" else self.options.infrastructure_errors

    def counts_as_wrong(self, status: ItemStatus) -> bool:
        """The failure counts with the worst score; it cannot without a range."""
        return self.of(status) == "wrong" and self.bounded


def _single(scores: list[float | None], statuses: list[ItemStatus], policies: _Policies) -> _Scores:
    """Items with one row each."""
    failed = [row for row, score in enumerate(scores) if score is None]
    present = _numbers(scores)
    wrong = [row for row in failed if policies.counts_as_wrong(statuses[row])]
    values, worst, best = list(scores), list(scores), list(scores)
    for row in failed:
        worst[row], best[row] = policies.worst, policies.best
    for row in wrong:
        values[row] = policies.worst
    missing = sum(statuses[row] == "missing" for row in failed)
    means = [_mean(present), _mean(_numbers(worst)) if failed else None]
    return _Scores(
        values=values,
        worst=_numbers(worst) if failed else [],
        best=_numbers(best) if failed else [],
        repeats=[],
        n_error=len(failed) - missing,
        n_excluded=sum(values[row] is None and statuses[row] != "missing" for row in failed),
        n_refused=sum(policies.of(statuses[row]) == "refuse" for row in failed),
        n_missing=missing,
        raw_means=tuple(each for each in means if each is not None and math.isfinite(each)),
    )


def _repeated(
    scores: list[float | None],
    statuses: list[ItemStatus],
    groups: list[list[int]],
    policies: _Policies,
) -> _Scores:
    """Items with several rows: the average of the rows that have a score, after the policies."""
    values: list[float | None] = []
    worst: list[float] = []
    best: list[float] = []
    repeats: list[list[float]] = []
    errors = excluded = refused = missing = 0
    for group in groups:
        failed = [row for row in group if scores[row] is None]
        own = [score for row in group if (score := scores[row]) is not None]
        kept = own + [policies.worst] * sum(policies.counts_as_wrong(statuses[row]) for row in failed)
        values.append(_mean(kept))
        worst.append(_mean([*own, *[policies.worst] * len(failed)]) or 0.0)
        best.append(_mean([*own, *[policies.best] * len(failed)]) or 0.0)
        repeats.append(kept)
        refused += any(policies.of(statuses[row]) == "refuse" for row in failed)
        if not own:
            absent = all(statuses[row] == "missing" for row in failed)
            missing += absent
            errors += not absent
            excluded += not absent and not kept
    failures = None in scores
    present = [score for score in scores if score is not None]
    pooled = [*present, *[policies.worst] * (len(scores) - len(present))]
    means = (_mean(present), _mean(pooled), _mean([each for each in values if each is not None]))
    return _Scores(
        values=values,
        worst=worst if failures else [],
        best=best if failures else [],
        repeats=repeats,
        n_error=errors,
        n_excluded=excluded,
        n_refused=refused,
        n_missing=missing,
        raw_means=tuple(each for each in means if each is not None and math.isfinite(each)),
    )


def _numbers(column: Sequence[float | None]) -> list[float]:
    return [value for value in column if value is not None]


def _check_lengths(items: RunItems) -> None:
    n = len(items.sample_ids)
    columns = {
        "scores": items.scores,
        "epochs": items.epochs,
        "statuses": items.statuses,
        "clusters": items.clusters,
        "key_hashes": items.key_hashes,
    }
    for name, column in columns.items():
        if column is not None and len(column) != n:
            raise ValueError(f"column '{name}' has {len(column)} rows, 'sample_ids' has {n}")


def _clean(items: RunItems) -> tuple[list[float | None], list[ItemStatus]]:
    """Finite scores of rows that are ``ok``, and statuses that agree with them."""
    scores: list[float | None] = []
    statuses: list[ItemStatus] = []
    default: list[ItemStatus] = ["ok"] * len(items.scores)
    for score, cause in zip(items.scores, items.statuses or default, strict=True):
        if score is None or cause != "ok":
            scores.append(None)
            statuses.append("missing" if cause == "ok" else cause)
        elif -MAX_ABS_SCORE <= score <= MAX_ABS_SCORE:  # false for NaN, too
            scores.append(float(score))
            statuses.append("ok")
        else:
            scores.append(None)
            statuses.append("infrastructure_error")
    return scores, statuses


def _grouped(items: RunItems) -> tuple[list[str], list[list[int]] | None, list[str]]:
    """Sample ids in order of appearance, the rows of each (None: one each), and ids that occur twice in an epoch.

    Samples without any id are rows of their own: they cannot be matched, and need not differ.
    """
    ids = list(items.sample_ids)
    if len(set(ids)) == len(ids) or not any(ids):
        return ids, None, []
    epochs = items.epochs if items.epochs is not None else [0] * len(ids)
    groups: dict[str, list[int]] = {}
    seen: set[tuple[str, int]] = set()
    duplicates: dict[str, None] = {}
    for row, key in enumerate(zip(ids, epochs, strict=True)):
        if key in seen:
            duplicates[key[0]] = None
        seen.add(key)
        groups.setdefault(key[0], []).append(row)
    return list(groups), list(groups.values()), list(duplicates)


def _range_problems(run: Run, scores: Sequence[float | None]) -> list[Note]:
    low, high = run.rules.low, run.rules.high
    if low is not None and high is not None and not low < high:
        return [
            Note(
                code="bad_range",
                message=f"the range of '{run.rules.metric}' is declared as {low:g} to {high:g}",
            )
        ]
    present = [score for score in scores if score is not None]
    outside = 0
    if present and ((low is not None and min(present) < low) or (high is not None and max(present) > high)):
        outside = sum(
            (low is not None and score < low) or (high is not None and score > high) for score in present
        )
    if not outside:
        return []
    return [
        Note(
            code="out_of_range",
            message=f"{outside} scores of '{run.rules.metric}' are outside its declared range; correct the range in the "
            "provider file, or the adapter",
        )
    ]


def _mean(values: Sequence[float]) -> float | None:
    if len(values) == 1:
        return values[0]
    return math.fsum(values) / len(values) if values else None


def _first_of(column: Sequence[T] | None, groups: Sequence[Sequence[int]] | None) -> list[T]:
    if column is None:
        return []
    return list(column) if groups is None else [column[group[0]] for group in groups]


def examples(names: Sequence[str]) -> str:
    """A few of the names, quoted."""
    return ", ".join(f"'{name[:80]}'" for name in names[:MAX_EXAMPLES])
