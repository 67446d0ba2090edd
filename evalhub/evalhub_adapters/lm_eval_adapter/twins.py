"""Tasks that generate answers instead of comparing given ones, by the framework's habit of naming them."""

from __future__ import annotations

from collections.abc import Callable

TWIN_SUFFIXES = ("_generative", "_chat", "_gen", "_cot_zeroshot", "_cot_llama", "_llama")


def generating_twin(task: str, exists: Callable[[str], bool]) -> str | None:
    """The task with the same questions for chat completions, where the provider names none; None if there is none.

    ``exists`` reports whether the framework has a task.
    """
    return next((name for suffix in TWIN_SUFFIXES if exists(name := task + suffix)), None)
