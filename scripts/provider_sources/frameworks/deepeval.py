"""deepeval: metric classes with a default threshold; each is a benchmark of recorded or generated answers."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(
    provider_id="deepeval",
    package="deepeval",
    title="DeepEval",
    licence="Apache-2.0",
    thresholds="the metrics' own defaults",
)
_METRICS = "deepeval/metrics"


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """The exported metrics that the table has a category for; the others need more than a name to be run.

    Raises:
        KeyError: the table names a metric that this release lacks.
    """
    wheel = wheels[FRAMEWORK.package]
    exported = syntax.texts(
        syntax.assigned(syntax.parse(wheel.files[f"{_METRICS}/__init__.py"]).body, "__all__")
    )
    found: dict[str, Benchmark] = {}
    for source in wheel.under(_METRICS, ".py").values():
        for class_ in syntax.classes(syntax.parse(source)):
            name, category = _identifier(class_.name), table.category(_identifier(class_.name), "")
            if class_.name in exported and category:
                found[name] = _benchmark(name, category, class_, table)
    wanted = [name for names in table.categories.values() for name in names]
    if missing := [name for name in wanted if name not in found]:
        raise KeyError(f"not in this release of {FRAMEWORK.package}: {' '.join(missing)}")
    also = [_renamed(name, found[target]) for name, target in table.also.items()]
    return [*(found[name] for name in wanted), *also, _correctness(table)]


def _correctness(table: Table) -> Benchmark:
    """The criteria for DeepEval's GEval that newer versions of the adapter bring under this id."""
    metric = "correctness_score"
    return Benchmark(
        id="correctness",
        category="quality",
        description=table.descriptions.get("deepeval-correctness", "By DeepEval's GEval."),
        metrics=(metric,),
        primary=metric,
        threshold=0.5,
        requires=("judge", "data"),
        properties=(Metric(name=metric, range=(0, 1)),),
    )


def _renamed(name: str, target: Benchmark) -> Benchmark:
    """The benchmark under the id and with the metric that the adapter of the community has."""
    metric = f"{name.replace('-', '_')}_score"
    return replace(
        target,
        id=name,
        alias_of=target.id,
        description=f"Another name of {target.id}.",
        metrics=(metric,),
        primary=metric,
        properties=(Metric(name=metric, range=(0, 1)),),
    )


def _benchmark(name: str, category: str, class_: ast.ClassDef, table: Table) -> Benchmark:
    init = syntax.method(class_, "__init__")
    threshold = getattr(syntax.default(init, "threshold"), "value", None) if init else None
    needs = [
        item.attr.lower()
        for item in syntax.items(syntax.assigned(class_.body, "_required_params"))
        if isinstance(item, ast.Attribute)
    ]
    computed = f", computed from {', '.join(needs)}" if needs else ""
    judged = init is not None and any(argument.arg == "model" for argument in init.args.args)
    return Benchmark(
        id=name,
        category=category,
        description=f"DeepEval's {class_.name}{computed}. 1 is best.",
        # As the community's adapter reports it.
        metrics=(f"{name}_score",),
        primary=f"{name}_score",
        threshold=table.thresholds.get(name, threshold if isinstance(threshold, int | float) else None),
        requires=("judge", "data") if judged else ("data",),
        properties=(Metric(name=f"{name}_score", range=(0, 1)),),
    )


def _identifier(class_name: str) -> str:
    """``PIILeakageMetric`` as ``pii_leakage``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name.removesuffix("Metric"))
    return words.lower()
