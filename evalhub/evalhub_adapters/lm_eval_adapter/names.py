"""Names of lm-evaluation-harness's tasks for benchmark ids, and tasks that generate answers instead of comparing given ones.

Both are in ``data/tasks.json``: ``aliases`` maps a benchmark id to the name of the task that it means, where they differ;
``generating_twins`` maps a task that needs prompt log-probabilities to one that any chat endpoint can run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from evalhub_common.adapter.json_values import as_object, parse

DATA = Path(__file__).parent / "data" / "tasks.json"
TWIN_SUFFIXES = ("_generative", "_chat", "_gen", "_cot_zeroshot", "_cot_llama", "_llama")


def task_name(benchmark_id: str) -> str:
    """The framework's name of a benchmark: the alias in the table, else the id itself."""
    return _table("aliases").get(benchmark_id, benchmark_id)


def generating_twin(task: str, exists: Callable[[str], bool]) -> str | None:
    """The task that asks the same, or the nearest, of a chat endpoint; None if there is none.

    ``exists`` reports whether the framework has a task.
    """
    named = _table("generating_twins").get(task)
    candidates = [named] if named else [task + suffix for suffix in TWIN_SUFFIXES]
    return next((name for name in candidates if exists(name)), None)


@cache
def _table(name: str) -> dict[str, str]:
    document = as_object(parse(DATA.read_bytes())) or {}
    return {key: str(value) for key, value in (as_object(document.get(name)) or {}).items()}
