"""guidellm: load profiles by their registered names; the metrics are those that the community's adapter reports."""

from __future__ import annotations

import ast

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric
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
#: The adapter's names, and the fields of guidellm that they are means of.
_METRICS = {
    "requests_per_second": "requests_per_second",
    "prompt_tokens_per_second": "prompt_tokens_per_second",
    "output_tokens_per_second": "output_tokens_per_second",
    "mean_ttft_ms": "time_to_first_token_ms",
    "mean_itl_ms": "inter_token_latency_ms",
}
_FIELDS = "guidellm/benchmark/schemas/metrics.py"
_LOWER = ("mean_ttft_ms", "mean_itl_ms")


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """One benchmark per profile that the table has no reason to skip; none has a threshold, hardware decides.

    The adapter takes the profile from the parameters, not from the benchmark's id.

    Raises:
        KeyError: this release lacks a field that the adapter reads.
    """
    wheel = wheels[FRAMEWORK.package]
    names = [
        name
        for source in wheel.under(_PROFILES, ".py").values()
        for class_ in syntax.classes(syntax.parse(source))
        for decorator in class_.decorator_list
        if isinstance(decorator, ast.Call) and syntax.called(decorator) == "register"
        for name in syntax.texts(decorator.args[0])
    ]
    fields = set(_fields(syntax.parse(wheel.files[_FIELDS])))
    if missing := sorted(set(_METRICS.values()) - fields):
        raise KeyError(f"not in this release of {FRAMEWORK.package}: {' '.join(missing)}")
    benchmarks: list[Benchmark] = []
    for name in sorted(set(names) - set(table.skip)):
        primary = table.primary.get(name, "requests_per_second")
        benchmarks.append(
            Benchmark(
                id=name,
                category="performance",
                description=_description(name, table),
                metrics=tuple(_METRICS),
                tags=("latency", "performance", "throughput"),
                primary=primary,
                lower_is_better=primary in _LOWER,
                requires=("chat",),
                defaults={"profile": name},
                properties=tuple(
                    Metric(name=metric, mean=False, lower_is_better=metric in _LOWER and metric != primary)
                    for metric in _METRICS
                ),
            )
        )
    return benchmarks


def _description(name: str, table: Table) -> str:
    text = (
        f"Load on the endpoint with GuideLLM's profile {name}; requests and tokens per second, and latencies."
    )
    if name in table.first_step:
        text += " The metrics are those of the first step; the artifacts have all."
    if name in table.newer:
        text += " Needs a newer GuideLLM than the adapter of the community installs."
    return text


def _fields(tree: ast.Module) -> list[str]:
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
