"""lighteval: ``LightevalTaskConfig(name=…, metrics=[…])`` in ``lighteval/tasks/tasks``, metrics in ``metrics.py``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric, starting_threshold
from provider_sources.tables import Table
from provider_sources.wheel import Wheel


def reported(metric: str) -> str:
    """The mean over the tasks of a run, with ``pass@k:k=1&n=4`` as ``pass@1`` and other numbers after a colon left out."""
    base, _, parameters = metric.rpartition(":")
    if k := re.search(r"\bk=(\d+)\b", parameters):
        return f"all.{base.replace('@k', f'@{k[1]}')}" if "@k" in base else f"all.{metric}"
    return f"all.{base if base and parameters.isdigit() else metric}"


FRAMEWORK = Framework(
    provider_id="lighteval", package="lighteval", title="Lighteval", licence="MIT", reported=reported
)
_TASKS = "lighteval/tasks/tasks"
_METRICS = "lighteval/metrics/metrics.py"
_DIRECTION = "higher_is_better"
_NEEDS = {"LOGPROBS": "prompt_logprobs", "PERPLEXITY": "prompt_logprobs", "GENERATIVE": "chat"}


class Facts(NamedTuple):
    """What is known of a metric. ``requires`` lacks the kind of requests if the definition does not name it."""

    higher: bool
    requires: tuple[str, ...] = ()
    mean: bool = False


Metrics = dict[str, Facts]


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """Every task with known metrics; subsets ``x:a``, ``x:b`` as one ``x``, which lighteval expands itself."""
    wheel = wheels[FRAMEWORK.package]
    shared = dict(_definitions(syntax.parse(wheel.files[_METRICS])))
    found: list[Benchmark] = []
    for source in wheel.under(_TASKS, ".py").values():
        tree = syntax.parse(source)
        known = shared | dict(_definitions(tree))
        tasks = list(_tasks(tree, known))
        for family in dict.fromkeys(name.partition(":")[0] for name, _, _ in tasks):
            members = [task for task in tasks if task[0].partition(":")[0] == family]
            doc = ast.get_docstring(tree) or ""
            if family in table.skip:
                continue
            if all(metrics == members[0][1] for _, metrics, _ in members):
                name = family if len(members) > 1 or members[0][0].endswith(":") else members[0][0]
                found.append(_benchmark(name, members, doc, table))
            else:  # subsets that are scored in different ways have no common score
                found += [_benchmark(task[0], [task], doc, table) for task in members]
    return sorted(found, key=lambda benchmark: benchmark.id)


def _benchmark(name: str, members: list[tuple[str, Metrics, str]], doc: str, table: Table) -> Benchmark:
    metrics = members[0][1]
    labels = [tag.strip() for tag in _section(doc, "tags").split(",") if tag.strip()]
    category = next(
        (c for c, tags in table.categories.items() if any(tag in tags for tag in labels)), "general"
    )
    sources = sorted({source for _, _, source in members if source})
    where = f" on the data set {sources[0]}" if len(sources) == 1 else ""
    paper = re.search(r"https?://\S+", _section(doc, "paper"))
    primary = table.primary.get(name) or next(iter(metrics))
    lower = not metrics[primary].higher
    return Benchmark(
        id=name,
        name=table.names.get(name, ""),
        category=category,
        description=f"Scored by {', '.join(metrics)}{where}{f'; {len(members)} subsets' if len(members) > 1 else ''}.",
        url=paper[0] if paper else "",
        metrics=tuple(metrics),
        tags=tuple(sorted(set(labels))),
        primary="" if name in table.no_verdict else primary,
        lower_is_better=lower,
        threshold=table.thresholds.get(name, starting_threshold(primary, lower_is_better=lower)),
        requires=tuple(
            need
            for need in ("chat", "prompt_logprobs", "judge")
            if any(need in facts.requires for facts in metrics.values())
        ),
        groups="strata" if len(members) > 1 else "",
        properties=tuple(
            Metric.named(metric, mean=facts.mean, lower_is_better=metric != primary and not facts.higher)
            for metric, facts in metrics.items()
        ),
    )


def _tasks(tree: ast.Module, known: dict[str, Metrics]) -> Iterator[tuple[str, Metrics, str]]:
    for call in syntax.calls(tree, "LightevalTaskConfig"):
        name = _name(syntax.keyword(call, "name"))
        metrics: Metrics = {}
        listed = syntax.items(syntax.keyword(call, "metrics"))
        for item in listed:
            metrics |= _with_parameters(item, known.get(syntax.called(item), {}))
        if name and metrics:
            yield name, metrics, syntax.text(syntax.keyword(call, "hf_repo")) or ""


def _name(node: ast.expr | None) -> str | None:
    """The name, or its beginning up to the colon when a loop fills in the rest."""
    if isinstance(node, ast.JoinedStr) and node.values:
        start = syntax.text(node.values[0]) or ""
        return f"{start.partition(':')[0]}:" if ":" in start else None
    return syntax.text(node)


def _with_parameters(item: ast.expr, metrics: Metrics) -> Metrics:
    """lighteval appends the parameters of a metric to its name: ``pass@k:k=1``. Functions have no such text: no metric."""
    parameters = syntax.keyword(item, "sample_params") if isinstance(item, ast.Call) else None
    if not isinstance(parameters, ast.Dict):
        return metrics
    pairs = zip(parameters.keys, parameters.values, strict=True)
    if not all(isinstance(value, ast.Constant) for value in parameters.values):
        return {}
    suffix = "&".join(f"{syntax.text(key)}={getattr(value, 'value', None)}" for key, value in pairs)
    return {f"{metric}:{suffix}": facts for metric, facts in metrics.items()}


def _definitions(tree: ast.Module) -> Iterator[tuple[str, Metrics]]:
    """Assignments of metrics, by the name of the variable."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        names = syntax.texts(syntax.keyword(node.value, "metric_name"))
        direction = syntax.keyword(node.value, _DIRECTION)
        need = _NEEDS.get(syntax.called(syntax.keyword(node.value, "category") or node))
        requires = (*((need,) if need else ()), *(("judge",) if _is_judge(node.value) else ()))
        mean = syntax.called(syntax.keyword(node.value, "corpus_level_fn") or node) == "mean"
        if names:
            yield (
                syntax.called(node.targets[0]),
                {name: Facts(_higher(direction, name), requires, mean) for name in names},
            )


def _is_judge(definition: ast.Call) -> bool:
    """Whether a second model scores the answers."""
    return any(isinstance(node, ast.Call) and "Judge" in syntax.called(node) for node in ast.walk(definition))


def _higher(node: ast.expr | None, name: str) -> bool:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return all(getattr(value, "value", True) for key, value in pairs if syntax.text(key) in (name, None))
    return bool(getattr(node, "value", True))


def _section(doc: str, name: str) -> str:
    """The lines below ``name:`` up to the next empty line."""
    found = re.search(rf"^{name}:\n(.*?)(?:\n\s*\n|\Z)", doc, re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()) if found else ""
