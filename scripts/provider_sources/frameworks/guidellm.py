"""guidellm: load profiles by their registered names, metrics by the fields of ``GenerativeMetrics``."""

from __future__ import annotations

import ast

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(
    provider_id="guidellm",
    package="guidellm",
    title="GuideLLM",
    licence="Apache-2.0",
    thresholds="left to the job: they depend on the hardware",
)
_PROFILES = "guidellm/benchmark/profiles"
_METRICS = "guidellm/benchmark/schemas/metrics.py"
_LOWER = ("latency", "time_to", "time_per")


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """One benchmark per profile that the table has no reason to skip; none has a threshold, hardware decides."""
    wheel = wheels[FRAMEWORK.package]
    names = [
        name
        for source in wheel.under(_PROFILES, ".py").values()
        for class_ in syntax.classes(syntax.parse(source))
        for decorator in class_.decorator_list
        if isinstance(decorator, ast.Call) and syntax.called(decorator) == "register"
        for name in syntax.texts(decorator.args[0])
    ]
    metrics = tuple(_metrics(syntax.parse(wheel.files[_METRICS])))
    benchmarks: list[Benchmark] = []
    for name in sorted(set(names) - set(table.skip)):
        primary = table.primary.get(name, "requests_per_second")
        benchmarks.append(
            Benchmark(
                id=name,
                category="performance",
                description=f"Load on the endpoint with GuideLLM's profile {name}; rates, latencies and token counts.",
                metrics=metrics,
                tags=("latency", "performance", "throughput"),
                primary=primary,
                lower_is_better=primary.startswith(_LOWER) or "latency" in primary,
            )
        )
    return benchmarks


def _metrics(tree: ast.Module) -> list[str]:
    """The distributions that every run has; optional ones and those per modality are left out."""
    return [
        node.target.id
        for class_ in syntax.classes(tree)
        if class_.name == "GenerativeMetrics"
        for node in class_.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
        and node.annotation.id == "StatusDistributionSummary"
    ]
