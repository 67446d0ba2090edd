"""Metrics and samples of a result of lm-evaluation-harness, in the form that EvalHub reports.

The framework has a metric once per filter, which extracts the answer from the text. The filter ``none`` is not part of the name:
``acc`` is its ``acc,none``. The value of another filter is reported with it, as ``exact_match,strict-match``; the name alone is
then the value of the filter that the provider declares, else of ``flexible-extract``, else of the first one. ``<metric>_stderr`` is
the standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object

NO_FILTER = "none"
PREFERRED_FILTERS = (NO_FILTER, "flexible-extract")

Row = Mapping[str, object]
NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True)
class Scores:
    """``metrics`` as they are reported; ``filters`` has the filter of each metric that is named without one."""

    metrics: dict[str, float]
    filters: dict[str, str]


def read_scores(row: Row, declared: Mapping[str, str] = NOTHING) -> Scores:
    """The metrics in one row of the framework's results. ``declared`` has the filters of metrics, where they are chosen."""
    found: dict[str, dict[str, float]] = {}
    for key, value in row.items():
        base, comma, name = key.partition(",")
        if comma and _is_finite(value):
            found.setdefault(base, {})[name] = float(cast("float", value))
    metrics: dict[str, float] = {}
    filters: dict[str, str] = {}
    for base, values in found.items():
        error_of = base.removesuffix("_stderr")
        if error_of != base and error_of in found:
            continue
        filters[base] = preferred_filter(values, declared.get(base))
        errors = found.get(f"{base}_stderr", {})
        named = {base: filters[base]} | {f"{base},{name}": name for name in values if name != NO_FILTER}
        for metric, name in named.items():
            metrics[metric] = values[name]
            if name in errors:
                metrics[f"{metric}_stderr"] = errors[name]
    return Scores(metrics, filters)


def preferred_filter(names: Iterable[str], declared: str | None = None) -> str:
    """The filter of the metric that is named without one."""
    names = list(names)
    return next((name for name in (declared, *PREFERRED_FILTERS) if name in names), names[0])


def mean_scores(rows: Sequence[Row], declared: Mapping[str, str] = NOTHING) -> Scores:
    """The unweighted means over tasks that have no score together, for the metrics that all of them have."""
    scores = [read_scores(row, declared) for row in rows]
    common = [name for name in scores[0].metrics if all(name in other.metrics for other in scores)]
    metrics: dict[str, float] = {}
    for name in common:
        values = [score.metrics[name] for score in scores]
        error = name.endswith("_stderr")
        metrics[name] = (
            math.sqrt(math.fsum(value**2 for value in values)) if error else math.fsum(values)
        ) / len(values)
    return Scores(metrics, {name: used for name, used in scores[0].filters.items() if name in metrics})


def sample_lines(
    task: str,
    rows: Iterable[Row],
    *,
    sample_id: Callable[[str, int], str],
    group: str | None,
    requests: Callable[[str, int], list[object]],
    declared: Mapping[str, str] = NOTHING,
) -> Iterator[JsonObject]:
    """The samples of a task in the documented format; ``rows`` are the framework's, one per document and filter."""
    documents: dict[int, dict[str, Row]] = {}
    for row in rows:
        number = row.get("doc_id")
        if isinstance(number, int):
            documents.setdefault(number, {})[str(row.get("filter"))] = row
    for number, by_filter in documents.items():
        used = preferred_filter(by_filter, next(iter(declared.values()), None))
        row = by_filter[used]
        choices = _choices(row)
        answer, output = _first(row.get("filtered_resps")), _output(row, choices)
        yield {
            "sample_id": sample_id(task, number),
            "metrics": _sample_metrics(by_filter, declared),
            "input": _input(row),
            "output": output,
            "target": _target(row.get("target"), choices),
            "answer": answer if isinstance(answer, str) and answer != output else None,
            "group": group,
            "metadata": {
                "requests": requests(task, number),
                **({"choices": choices} if choices else {}),
                **({"filter": used} if used != NO_FILTER else {}),
            },
        }


def _sample_metrics(by_filter: Mapping[str, Row], declared: Mapping[str, str]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, row in by_filter.items():
        for metric in as_list(row.get("metrics")) or []:
            value = _number(row.get(str(metric)))
            if value is None:
                continue
            if name == preferred_filter(by_filter, declared.get(str(metric))):
                metrics[str(metric)] = value
            if name != NO_FILTER:
                metrics[f"{metric},{name}"] = value
    return metrics


def _number(value: object) -> float | None:
    """A sample's value of a metric. A list of verdicts counts as their share; other values are inputs of an aggregation."""
    if _is_finite(value):
        return float(cast("float", value))
    verdicts = as_list(value)
    if verdicts and all(isinstance(verdict, bool) for verdict in verdicts):
        return sum(map(bool, verdicts)) / len(verdicts)
    return None


def _arguments(row: Row) -> list[list[object]]:
    """The arguments of each request of a sample."""
    arguments = row.get("arguments")
    items = as_list(arguments) or list((as_object(arguments) or {}).values())
    return [
        list(cast("Sequence[object]", item))
        if isinstance(item, list | tuple)
        else list((as_object(item) or {}).values())
        for item in items
    ]


def _choices(row: Row) -> list[str]:
    """The continuations that were compared; empty for a generated answer."""
    arguments = _arguments(row)
    return [str(item[1]) for item in arguments if len(item) > 1 and isinstance(item[1], str)]


def _input(row: Row) -> object:
    arguments = _arguments(row)
    first = arguments[0][0] if arguments and arguments[0] else None
    return None if first is None else getattr(first, "messages", str(first))


def _output(row: Row, choices: Sequence[str]) -> object:
    """The generated text, or the most likely of several choices."""
    values = [_first(responses) for responses in as_list(row.get("resps")) or []]
    if values and isinstance(values[0], str):
        return values[0]
    logprobs = [_logprob(value) for value in values]
    if 1 < len(choices) == len(logprobs):
        return choices[max(range(len(choices)), key=logprobs.__getitem__)].strip()
    return None


def _logprob(value: object) -> float:
    """The first of a log-probability and whether it is greedy; the least possible if there is none."""
    logprob = cast("Sequence[object]", value)[0] if isinstance(value, tuple | list) and value else None
    return float(logprob) if isinstance(logprob, int | float) else -math.inf


def _target(target: object, choices: Sequence[str]) -> object:
    if isinstance(target, bool) or not isinstance(target, int):
        return target if isinstance(target, str | float) or target is None else _plain(target)
    return choices[target].strip() if 0 <= target < len(choices) else target


def _plain(value: object) -> object:
    """``value`` if it consists of JSON types, else its text."""
    items = as_list(value)
    if items is not None:
        return [_plain(item) for item in items]
    return value if isinstance(value, str | int | float) or value is None else str(value)


def _first(value: object) -> object:
    items = as_list(value) or []
    return items[0] if items else None


def _is_finite(value: object) -> bool:
    """Whether it is a finite number, of NumPy's types, too."""
    return hasattr(value, "__float__") and math.isfinite(float(cast("float", value)))
