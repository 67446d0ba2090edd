"""CLEAR: the names of its tasks, compared one by one in ``get_task_data_obj``; the metrics are the community's adapter's."""

from __future__ import annotations

import ast

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(provider_id="ibm-clear", package="clear-eval", title="CLEAR", licence="Apache-2.0")
_TASKS = "clear_eval/pipeline/use_cases/use_case_utils.py"
_PRIMARY = "average_score"
#: What the adapter counts, besides interactions and agents.
_ISSUES = ("total_issues", "pct_interactions_with_issues", "issues_per_interaction")


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """One benchmark per task, which the adapter of the community takes from the parameters, not from the benchmark's id."""
    wheel = wheels[FRAMEWORK.package]
    names = [
        name
        for node in ast.walk(syntax.parse(wheel.files[_TASKS]))
        if isinstance(node, ast.Compare)
        for name in syntax.texts(node.comparators[0])
    ]
    return [
        Benchmark(
            id=name,
            name=table.names.get(name, ""),
            category=table.category(name),
            description=(
                f"A judge model scores each answer from 0 to 1 with CLEAR's task {name}, then groups what recurs."
                f"{' The adapter of the community applies the criteria for agents.' if name == 'general' else ''}"
            ),
            metrics=(_PRIMARY, *_ISSUES),
            tags=("error-analysis", "llm-as-judge"),
            primary=_PRIMARY,
            threshold=table.thresholds.get(name, 0.7),
            requires=("judge", "data"),
            defaults={"task": name},
            properties=(
                # The mean over agents, each with a number of interactions of its own.
                Metric(name=_PRIMARY, range=(0, 1), mean=False),
                *(Metric(name=metric, mean=False, lower_is_better=True) for metric in _ISSUES),
            ),
        )
        for name in sorted(set(names) - set(table.skip))
    ]
