"""Which runs a leaderboard ranks a model by, how their settings differ from those of the others, and the order of its rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.comparison_inputs import rules_of, run_of
from evalhub_server.domain.comparison_view import LeaderboardEntry, LeftOutModel, ModelResult, model_results
from evalhub_server.domain.configuration import settings_of, source_differences
from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.statistics.results import Leaderboard
from evalhub_server.models.configuration import ConfigurationDifference

RunsKind = Literal["latest", "mean", "best"]
RUNS: tuple[RunsKind, ...] = get_args(RunsKind)
SORTS = ("overall", "model", "created")
"""What rows can be sorted by, beside the names of benchmarks."""
BEST_FIRST = "-overall"
MAX_MEAN_RUNS = 5
"""Runs of a model whose mean is ranked: the newest ones."""


class ModelRun(Struct, kw_only=True, frozen=True):
    """A job of a model with results of all benchmarks, reruns included."""

    job: JobRecord
    view: LineageView


class ChosenRuns(Struct, kw_only=True, frozen=True):
    """The runs that a model is ranked by, the one that represents it first.

    ``complete`` is the number of runs with results of all benchmarks. ``chosen_of``: the number of runs of which the one was chosen for
    its score. ``other_settings``: runs that are not in the mean because their settings differ from the newest one's.
    """

    runs: Sequence[ModelRun]
    complete: int
    chosen_of: int = 1
    other_settings: int = 0

    @property
    def first(self) -> ModelRun:
        return self.runs[0]

    @property
    def views(self) -> list[LineageView]:
        return [each.view for each in self.runs]


def choose_runs(
    runs: Sequence[ModelRun], kind: RunsKind, weights: Mapping[str, float], metric: str = ""
) -> ChosenRuns:
    """The runs that a model is ranked by, of all its complete ones, newest first.

    ``latest``: the newest one. ``mean``: the newest :data:`MAX_MEAN_RUNS` with the settings of the newest one. ``best``: the one with the
    best weighted mean of reported scores; the newest one if no mean can be computed.
    """
    newest = runs[0]
    if kind == "mean":
        same = [each for each in runs if _same_settings(newest.view, each.view)]
        return ChosenRuns(runs=same[:MAX_MEAN_RUNS], complete=len(runs), other_settings=len(runs) - len(same))
    if kind == "best":
        scored = [
            (score, each)
            for each in runs
            if (score := weighted_score(each.view, weights, metric)) is not None
        ]
        if scored:
            best = max(scored, key=lambda pair: pair[0])[1]
            return ChosenRuns(runs=[best], complete=len(runs), chosen_of=len(scored))
    return ChosenRuns(runs=[newest], complete=len(runs))


def weighted_score(view: LineageView, weights: Mapping[str, float], metric: str = "") -> float | None:
    """The weighted mean of reported scores; those where lower is better count as ``low + high - score`` of the declared range.

    None if a score is missing, or has no declared range and lower is better.
    """
    parts: list[float] = []
    for name, weight in weights.items():
        source = view.get(name)
        run = run_of(source, metric=metric) if source is not None else None
        value = run.header.reported_value if run is not None else None
        if source is None or value is None:
            return None
        rules = rules_of(source.planned, metric)
        if rules.lower_is_better:
            if rules.low is None or rules.high is None:
                return None
            value = rules.low + rules.high - value
        parts.append(weight * value)
    total = math.fsum(weights.values())
    return math.fsum(parts) / total if total else None


def _same_settings(one: LineageView, other: LineageView) -> bool:
    return all(name in one and not source_differences(one[name], source) for name, source in other.items())


def mark_settings(
    results: Mapping[str, Mapping[str, ModelResult]],
    views: Mapping[str, LineageView],
    names: Collection[str],
) -> dict[str, dict[str, ModelResult]]:
    """The results of models by benchmark, with the settings in which they differ from those that most models have.

    Of settings that equally many models have, those of the first model count. Both mappings have the models in the order of the rows.
    """
    marked = {model: dict(found) for model, found in results.items()}
    for name in names:
        sources = {
            model: source for model, view in views.items() if (source := view.get(name)) and source.completed
        }
        reference = _most_common(sources)
        for model, source in sources.items():
            differences = source_differences(sources[reference], source)
            if differences:
                marked[model][name] = replace(
                    marked[model][name], differs_from=reference, configuration=differences
                )
    return marked


class OtherSetting(Struct, kw_only=True, frozen=True):
    """A setting in which a model's results of benchmarks differ from those of the model ``reference``."""

    model: str
    reference: str
    difference: ConfigurationDifference
    benchmarks: tuple[str, ...]


def other_settings(rows: Iterable[LeaderboardEntry | LeftOutModel]) -> list[OtherSetting]:
    """The settings that :func:`mark_settings` found, each once for a model."""
    found: dict[tuple[str, str, ConfigurationDifference], list[str]] = {}
    for row in rows:
        for name, result in row.results.items():
            for each in result.configuration:
                found.setdefault((row.model, result.differs_from, each), []).append(name)
    return [
        OtherSetting(model=model, reference=reference, difference=each, benchmarks=tuple(names))
        for (model, reference, each), names in found.items()
    ]


def _most_common(sources: Mapping[str, Source]) -> str:
    """The first model with the settings that most models have; empty without models."""
    keys = {
        model: msgspec.json.encode(settings_of(source), order="sorted") for model, source in sources.items()
    }
    counted = Counter(keys.values())
    return max(keys, key=lambda model: counted[keys[model]], default="")


def mean_results(views: Sequence[LineageView], names: Collection[str]) -> dict[str, ModelResult]:
    """The results of the first view, with the mean of the reported scores of all."""
    found = model_results(views[0], names)
    if len(views) == 1:
        return found
    others = [model_results(view, names) for view in views]
    return {
        name: replace(
            result,
            score=mean_of([each[name].score if name in each else None for each in others]),
            runs=len(views),
        )
        for name, result in found.items()
    }


def mean_of(scores: Sequence[float | None]) -> float | None:
    """The mean; None if a score is missing."""
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(scores) else None


def sorted_entries(
    entries: Sequence[LeaderboardEntry], board: Leaderboard, sort: str
) -> tuple[LeaderboardEntry, ...]:
    """The entries in the order of ``sort``: one of :data:`SORTS` or the name of a benchmark, after ``-`` for the largest first.

    Overall and benchmarks are sorted by the scores of the rankings, then, models without one, by the reported scores. Models without a
    score come last in either direction.
    """
    name, descending = sort.removeprefix("-"), sort.startswith("-")
    by_name = sorted(entries, key=lambda each: each.model, reverse=descending and name == "model")
    if name == "model":
        return tuple(by_name)
    if name == "created":
        return tuple(sorted(by_name, key=lambda each: each.job.created_at, reverse=descending))
    if name == "overall":
        ranking, reported = board.suite, {each.model: each.score for each in entries}
    else:
        ranking = next((each for each in board.benchmarks if each.name == name), None)
        reported = {each.model: found.score for each in entries if (found := each.results.get(name))}
    ranked = {rank.model: rank.score for rank in ranking.ranks} if ranking else {}
    ordered: list[LeaderboardEntry] = []
    left = by_name
    for scores in (ranked, reported):
        known = [(score, each) for each in left if (score := scores.get(each.model)) is not None]
        ordered += [each for _, each in sorted(known, key=lambda pair: pair[0], reverse=descending)]
        left = [each for each in left if scores.get(each.model) is None]
    return (*ordered, *left)
