"""Scores of the samples that are finished, while a benchmark of lm-evaluation-harness runs.

Imports the framework.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task

from evalhub_adapters.lm_eval_adapter.calls import SampleKey
from evalhub_adapters.lm_eval_adapter.results import NO_FILTER, preferred_filter

CHEAP_METRICS = frozenset({"acc", "acc_norm", "exact_match"})


class RunningScores:
    """Means of the metrics that cost little to compute, over all finished samples; none for other tasks."""

    def __init__(self, tasks: Mapping[str, Task], declared: Mapping[str, str]) -> None:
        """``declared`` has the filters of metrics, where the provider declares them."""
        self._declared = declared
        self._tasks = {name: task for name, task in tasks.items() if _is_cheap(task)}
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, sample: SampleKey, requests: Iterable[tuple[object, object]]) -> None:
        """Count a sample, whose requests have these responses."""
        task = self._tasks.get(sample[0])
        if task is None:
            return
        instances: list[Instance] = []
        asked = cast("Iterable[tuple[Instance, object]]", requests)
        for request, response in sorted(asked, key=lambda pair: pair[0].idx):
            instance = copy.copy(request)
            instance.resps, instance.filtered_resps = [response], {}
            instances.append(instance)
        for ensemble in task._filters:  # noqa: SLF001  it has no public name
            ensemble.apply(instances)
        names = list(instances[0].filtered_resps)
        for name in names:
            scores = task.process_results(
                instances[0].doc, [instance.filtered_resps[name] for instance in instances]
            )
            for metric, value in scores.items():
                if isinstance(value, int | float) and math.isfinite(value):
                    used = preferred_filter(names, self._declared.get(metric))
                    for reported in _names(metric, name, used):
                        self._sums[reported] += value
                        self._counts[reported] += 1

    def means(self) -> dict[str, float]:
        """The scores so far."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}


def _is_cheap(task: Task) -> bool:
    metrics = getattr(task, "_metric_fn_list", {})
    own = getattr(task.config, "process_results", None)
    repeats = getattr(task.config, "repeats", 1)
    return (
        bool(metrics)
        and own is None
        and repeats == 1
        and set(metrics) <= CHEAP_METRICS
        and hasattr(task, "_filters")
    )


def _names(metric: str, name: str, used: str) -> Sequence[str]:
    plain = [metric] if name == used else []
    return plain if name == NO_FILTER else [*plain, f"{metric},{name}"]
