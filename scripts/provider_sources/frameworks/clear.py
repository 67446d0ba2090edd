"""CLEAR: the names of its tasks, compared one by one in ``get_task_data_obj``, and the column of its score."""

from __future__ import annotations

import ast

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(provider_id="ibm-clear", package="clear-eval", title="CLEAR", licence="Apache-2.0")
_TASKS = "clear_eval/pipeline/use_cases/use_case_utils.py"
_CONSTANTS = "clear_eval/pipeline/constants.py"


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    wheel = wheels[FRAMEWORK.package]
    metric = syntax.text(syntax.assigned(syntax.parse(wheel.files[_CONSTANTS]).body, "SCORE_COL")) or "score"
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
            description=f"A judge model scores each answer from 0 to 1 with CLEAR's task {name}, then groups what recurs.",
            metrics=(metric,),
            tags=("error-analysis", "llm-as-judge"),
            primary=metric,
            threshold=table.thresholds.get(name, 0.7),
            requires=("judge", "data"),
            properties=(Metric(name=metric, range=(0, 1)),),
        )
        for name in sorted(set(names) - set(table.skip))
    ]
