"""ragas: metric classes in ``ragas/metrics/collections``; each is a benchmark of recorded or generated answers."""

from __future__ import annotations

import ast
import re

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

_METRICS = "ragas/metrics/collections"
#: The metrics that the community's adapter computes, by their names in this list; it takes those names from ``ragas.metrics``.
_COMPUTED = {
    **{
        name: name
        for name in (
            "answer_relevancy", "context_precision", "faithfulness", "context_recall", "context_entity_recall",
            "factual_correctness", "noise_sensitivity", "answer_similarity",
        )
    },
    "semantic_similarity": "answer_similarity",
    "answer_accuracy": "nv_accuracy",
    "context_relevance": "nv_context_relevance",
    "response_groundedness": "nv_response_groundedness",
}  # fmt: skip


def reported(metric: str) -> str:
    return _COMPUTED.get(metric, metric)


FRAMEWORK = Framework(
    provider_id="ragas", package="ragas", title="Ragas", licence="Apache-2.0", reported=reported
)


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """The exported metrics that have a name of their own, first definition first.

    The adapter takes the metrics from the parameters, not from the benchmark's id.
    """
    wheel = wheels[FRAMEWORK.package]
    exported = syntax.texts(
        syntax.assigned(syntax.parse(wheel.files[f"{_METRICS}/__init__.py"]).body, "__all__")
    )
    found: dict[str, Benchmark] = {}
    for source in wheel.under(_METRICS, ".py").values():
        siblings = {class_.name: class_ for class_ in syntax.classes(syntax.parse(source))}
        for class_ in siblings.values():
            name = _name(class_)
            if class_.name in exported and name and name not in table.skip:
                found.setdefault(name, _benchmark(name, class_, siblings, table))
    return [found[name] for name in sorted(found)]


def _benchmark(name: str, class_: ast.ClassDef, siblings: dict[str, ast.ClassDef], table: Table) -> Benchmark:
    lowest, highest = _range(class_, siblings)
    lower = bool(re.search(r"lower is better", ast.get_docstring(class_) or ""))
    threshold = (0.2 if lower else 0.7) if (lowest, highest) == (0.0, 1.0) else None
    needs = _inputs(class_)
    return Benchmark(
        id=name,
        category=table.category(name),
        description=(
            f"Score between {lowest:g} and {highest:g}{f', computed from {needs}' if needs else ''}."
            f"{' Lower is better.' if lower else ''}"
        ),
        metrics=(name,),
        primary=name,
        lower_is_better=lower,
        threshold=table.thresholds.get(name, threshold),
        requires=_requires(class_),
        defaults={"metrics": [_COMPUTED[name]]} if name in _COMPUTED else {},
        properties=(Metric(name=name, range=(lowest, highest)),),
    )


def _requires(class_: ast.ClassDef) -> tuple[str, ...]:
    init = syntax.method(class_, "__init__")
    names = {argument.arg for argument in init.args.args} if init else set[str]()
    models = [need for name, need in (("llm", "judge"), ("embeddings", "embeddings")) if name in names]
    return (*models, "data")


def _name(class_: ast.ClassDef) -> str | None:
    init = syntax.method(class_, "__init__")
    if init is None:
        return None
    if name := syntax.text(syntax.default(init, "name")):
        return name
    return next((syntax.text(syntax.keyword(call, "name")) for call in syntax.calls(init, "__init__")), None)


def _range(class_: ast.ClassDef, siblings: dict[str, ast.ClassDef]) -> tuple[float, float]:
    """Return the range: 0 to 1 in the base class; some metrics override it, and some inherit from those."""
    parents = [siblings[base] for base in map(syntax.called, class_.bases) if base in siblings]
    for call in (call for origin in (class_, *parents) for call in syntax.calls(origin, "__init__")):
        limits = syntax.keyword(call, "allowed_values")
        if isinstance(limits, ast.Tuple):
            low, high = (float(getattr(item, "value", 0.0)) for item in limits.elts)
            return low, high
    return 0.0, 1.0


def _inputs(class_: ast.ClassDef) -> str:
    score = syntax.method(class_, "ascore")
    names = [argument.arg for argument in score.args.args if argument.arg != "self"] if score else []
    return ", ".join(names)
