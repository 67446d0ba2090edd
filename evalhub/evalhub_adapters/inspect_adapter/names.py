"""Names of Inspect's tasks for benchmark ids.

A task has the name ``package/task``. Benchmark ids are these names, names of ``inspect_evals`` alone, or ids of the form
``inspect/…``, which have dashes where Inspect has underscores.
"""

from __future__ import annotations

from collections.abc import Sequence

from evalhub_common.adapter.errors import JobInvalid

EVALS = "inspect_evals"
ALIAS_PREFIX = "inspect"
CUSTOM = "inspect/custom"
_IRREGULAR = {
    "inspect/arc": "arc_challenge",
    "inspect/gpqa": "gpqa_diamond",
    "inspect/instrumental-eval": "instrumentaleval",
    "inspect/mmlu": "mmlu_0_shot",
    "inspect/sycophancy-evals": "sycophancy",
}


def task_names(benchmark_id: str, tasks: Sequence[str]) -> list[str]:
    """The tasks of a benchmark: ``tasks``, if the job names some, else the one of the id.

    Raises:
        JobInvalid: the benchmark stands for a task that the job has to name.
    """
    if benchmark_id == CUSTOM and not tasks:
        raise JobInvalid(
            f"benchmark {CUSTOM} runs a task of an installed package: name it in parameters.tasks, as package/task"
        )
    return [task_name(task) for task in tasks or [benchmark_id]]


def short_name(name: str) -> str:
    """The name of a task or metric without its package."""
    return name.rpartition("/")[2]


def task_name(benchmark_id: str) -> str:
    """Inspect's name of the task that an id means."""
    package, slash, task = benchmark_id.partition("/")
    if not slash:
        return f"{EVALS}/{benchmark_id}"
    if package == ALIAS_PREFIX:
        return f"{EVALS}/{_IRREGULAR.get(benchmark_id, task.replace('-', '_'))}"
    return benchmark_id
