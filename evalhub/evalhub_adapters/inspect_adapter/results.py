"""Metrics in the results of Inspect's tasks, in the form that EvalHub reports.

Inspect has metrics per scorer. ``match/accuracy`` is the metric ``accuracy`` of the scorer ``match``; ``accuracy`` alone is that of
the first scorer that has it. Beside ``stderr``, the standard error of a mean is reported as ``<metric>_stderr``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalhub_adapters.inspect_adapter.names import short_name
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object

MEANS = ("accuracy", "mean")
"""Metrics that are means of the samples' scores."""
ERROR = "stderr"


@dataclass(frozen=True)
class TaskScores:
    """The metrics of one task, and how many samples they are about."""

    metrics: dict[str, float]
    samples: int


def read_scores(results: JsonObject, *, dashed: bool) -> TaskScores:
    """The metrics in the ``results`` of a log.

    ``dashed``: the benchmark has an id of the form ``inspect/…``, whose listed metrics are ``accuracy/accuracy`` and
    ``accuracy/stderr``; they are reported, too.
    """
    found: dict[str, float] = {}
    count = 0
    for score in _objects(results.get("scores")):
        values = _metrics(as_object(score.get("metrics")) or {})
        scored = score.get("scored_samples")
        count = max(count, scored if isinstance(scored, int) else 0)
        names = [str(score.get("name"))]
        if score.get("reducer"):
            names.append(f"{names[0]}/{score['reducer']}")
        for metric, value in values.items():
            for name in (metric, *(f"{name}/{metric}" for name in names)):
                found.setdefault(name, value)
    if dashed and "accuracy" in found:
        found.setdefault("accuracy/accuracy", found["accuracy"])
        if "accuracy_stderr" in found:
            found.setdefault("accuracy/stderr", found["accuracy_stderr"])
    completed = results.get("completed_samples")
    return TaskScores(found, count or (completed if isinstance(completed, int) else 0))


def pooled_scores(scores: Mapping[str, TaskScores]) -> dict[str, float]:
    """The metrics of several tasks: each under ``<task>/<metric>``, and the means over all samples of those that all have."""
    if len(scores) == 1:
        return next(iter(scores.values())).metrics
    total = sum(each.samples for each in scores.values())
    first = next(iter(scores.values()))
    common = [name for name in first.metrics if all(name in each.metrics for each in scores.values())]
    pooled: dict[str, float] = {}
    for name in common if total else ():
        terms = [each.samples * each.metrics[name] for each in scores.values()]
        # Errors of independent means add as squares.
        pooled[name] = (math.hypot(*terms) if name.endswith(ERROR) else math.fsum(terms)) / total
    own = {
        f"{short_name(task)}/{name}": value
        for task, each in scores.items()
        for name, value in each.metrics.items()
        if "/" not in name
    }
    return own | pooled


def mean_names(scorers: object) -> dict[str, list[str]]:
    """The metrics of each scorer that are means, from the ``scorers`` in the header of a log."""
    return {
        str(scorer.get("name")): [
            name
            for name in (short_name(str(metric.get("name"))) for metric in _objects(scorer.get("metrics")))
            if name in MEANS
        ]
        for scorer in _objects(scorers)
    }


def sample_metrics(scores: Mapping[str, object], means: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The metrics of a sample with these scores by scorer, named as the means that they are part of; else as their scorer."""
    found: dict[str, float] = {}
    for scorer, score in scores.items():
        value = (as_object(score) or {}).get("value")
        parts = as_object(value)
        for key, part in (parts or {"": value}).items():
            number = score_number(part)
            if number is None:
                continue
            # A score with several values is reported as if each were a scorer.
            name = key or scorer
            for mean in means.get(scorer) or means.get(name) or ():
                found.setdefault(mean, number)
                found[f"{name}/{mean}"] = number
            if not means.get(scorer):
                found[name] = number
    return found


def score_number(value: object) -> float | None:
    """A score as Inspect counts it: C(orrect) 1, P(artial) 0.5, I(ncorrect) and N(o answer) 0; None if it is no number."""
    if isinstance(value, bool | int | float):
        return float(value) if math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    letters = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
    known = letters.get(value, letters.get(value.lower()))
    if known is not None:
        return known
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _metrics(metrics: JsonObject) -> dict[str, float]:
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        value = (as_object(metric) or {}).get("value")
        if isinstance(value, int | float) and math.isfinite(value):
            values[name] = float(value)
    if ERROR in values:
        values |= {f"{name}_{ERROR}": values[ERROR] for name in MEANS if name in values}
    return values


def _objects(value: object) -> list[JsonObject]:
    return [found for item in as_list(value) or [] if (found := as_object(item)) is not None]
