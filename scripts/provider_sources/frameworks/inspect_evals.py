"""Inspect: ``eval.yaml`` per evaluation lists the tasks; the scorers in the task's code define the metrics."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, cast

import yaml

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric, starting_threshold
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(provider_id="inspect", package="inspect-evals", title="Inspect Evals", licence="MIT")
_DEPTH = 3
_SPREAD = {"stderr", "std", "var"}
Functions = dict[str, ast.FunctionDef | ast.AsyncFunctionDef]


def tasks(wheels: dict[str, Wheel]) -> set[str]:
    """All tasks of all evaluations."""
    names: set[str] = set()
    for text in wheels[FRAMEWORK.package].under("inspect_evals", "/eval.yaml").values():
        listed: list[dict[str, Any]] = yaml.safe_load(text).get("tasks") or []
        names |= {f"inspect_evals/{task['name']}" for task in listed}
    return names


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """Every task whose metrics can be read from its code."""
    wheel = wheels[FRAMEWORK.package]
    shared = _functions(wheels["inspect-ai"], "inspect_ai/scorer") | _functions(wheel, "inspect_evals/utils")
    found: list[Benchmark] = []
    for path, text in wheel.under("inspect_evals", "/eval.yaml").items():
        listing: dict[str, Any] = yaml.safe_load(text)
        own = _functions(wheel, path.rpartition("/")[0])
        functions = shared | own
        for task in cast("list[dict[str, Any]]", listing.get("tasks") or []):
            metrics = tuple(dict.fromkeys(_task_metrics(str(task["name"]), functions)))
            if set(metrics) - _SPREAD and task["name"] not in table.skip:
                judged = task["name"] in table.judged or _is_judged(str(task["name"]), functions, own)
                found.append(_benchmark(listing, task, metrics, table, judged=judged))
    return sorted(found, key=lambda benchmark: benchmark.id)


def _benchmark(
    listing: dict[str, Any], task: dict[str, Any], metrics: tuple[str, ...], table: Table, *, judged: bool
) -> Benchmark:
    group, samples = str(listing.get("group", "")), task.get("dataset_samples")
    title = str(listing.get("title", "")).partition(":")[0]
    several = len(listing["tasks"]) > 1
    labels = [str(tag) for tag in cast("list[Any]", listing.get("tags") or [])]
    sandbox = bool(cast("dict[str, Any]", listing.get("metadata") or {}).get("sandbox"))
    # Nothing declares whether high or low is good; it is plain only where tasks are to be solved.
    primary = "accuracy" if "accuracy" in metrics and group not in table.no_verdict else ""
    return Benchmark(
        id=f"inspect_evals/{task['name']}",
        name=f"{title} ({task['name']})" if several else title,
        category=table.category(group),
        description=(
            f"Inspect task of the group {group}, scored by {', '.join(metrics)}."
            f"{' Runs model-written code or tools in a sandbox.' if sandbox else ''}"
        ),
        url=str(listing.get("arxiv") or ""),
        metrics=metrics,
        dataset_size=samples if isinstance(samples, int) else 0,
        tags=tuple(sorted({label.lower().replace(" ", "-") for label in labels})),
        primary=primary,
        threshold=starting_threshold(primary),
        requires=("chat", *(["sandbox"] if sandbox else []), *(["judge"] if judged else [])),
        # Of other metrics it is unknown how they summarise the samples' scores.
        properties=tuple(
            Metric.named(metric, mean=metric in ("mean", "accuracy"))
            for metric in metrics
            if metric not in _SPREAD
        ),
    )


def _functions(wheel: Wheel, folder: str) -> Functions:
    """The functions of a package; those that are scorers or tasks win over helpers of the same name."""
    found: Functions = {}
    for source in wheel.under(folder, ".py").values():
        for node in ast.walk(syntax.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                node.name not in found or node.decorator_list
            ):
                found[node.name] = node
    return found


def _task_metrics(name: str, functions: Functions) -> Iterator[str]:
    """Metrics of ``Task(scorer=…, metrics=…)`` in the function, or in one that it calls."""
    for task, function in _task_calls(name, functions):
        own = list(_metric_names(syntax.keyword(task, "metrics")))
        scorers = _values(syntax.keyword(task, "scorer"), function)
        yield from own or [m for scorer in scorers for m in _scorer_metrics(scorer, functions)]


def _is_judged(name: str, functions: Functions, own: Functions) -> bool:
    """Whether a scorer of the task calls a model. ``own`` are the functions of the evaluation itself."""
    return any(
        scorer.startswith("model_graded") or _calls_model(scorer, own, set())
        for task, function in _task_calls(name, functions)
        for scorer in _values(syntax.keyword(task, "scorer"), function)
    )


def _calls_model(name: str, own: Functions, seen: set[str]) -> bool:
    """Whether a function of the evaluation calls a model, itself or through others of its functions."""
    if name not in own or name in seen:
        return False
    seen.add(name)
    called = {syntax.called(node) for node in ast.walk(own[name]) if isinstance(node, ast.Call)}
    return any(
        each == "get_model" or each.startswith("model_graded") or _calls_model(each, own, seen)
        for each in called
    )


def _task_calls(
    name: str, functions: Functions, depth: int = 0
) -> Iterator[tuple[ast.Call, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Calls of ``Task(…)`` in the function, or in one that it calls, with the function."""
    function = functions.get(name)
    if function is None or depth > _DEPTH:
        return
    tasks = list(syntax.calls(function, "Task"))
    yield from ((task, function) for task in tasks)
    if not tasks:
        inner = [
            node for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None
        ]
        for node in inner:
            if isinstance(node.value, ast.Call) and syntax.called(node.value) != name:
                yield from _task_calls(syntax.called(node.value), functions, depth + 1)


def _values(node: ast.expr | None, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Names of the scorers in an expression; a variable stands for what the function sets it to."""
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            yield from _values(part, function)
    elif isinstance(node, ast.Name):
        value = syntax.assigned([n for n in ast.walk(function) if isinstance(n, ast.stmt)], node.id)
        if value is not None and not (isinstance(value, ast.Name) and value.id == node.id):
            yield from _values(value, function)
    else:
        for item in syntax.items(node):
            yield syntax.called(item)


def _scorer_metrics(name: str, functions: Functions) -> Iterator[str]:
    for decorator in getattr(functions.get(name), "decorator_list", ()):
        if isinstance(decorator, ast.Call) and syntax.called(decorator) == "scorer":
            yield from _metric_names(syntax.keyword(decorator, "metrics"))


def _metric_names(node: ast.expr | None) -> Iterator[str]:
    """Plain metrics only: the names of grouped ones are composed at run time."""
    for item in syntax.items(node):
        if isinstance(item, ast.Call) and syntax.called(item) != "grouped":
            yield syntax.called(item)
