"""A function for the runtime to call: the score that blind guessing reaches, to compare a model's with."""

from __future__ import annotations

import random

from evalhub_runtime_thread.workload import Task


def multiple_choice(task: Task) -> dict[str, float]:
    """Guess the answers of ``num_examples`` questions (100) with ``choices`` answers each (4)."""
    count = int(task.spec.num_examples or 100)
    choices = int(task.spec.parameters.get("choices", 4))
    chance = random.Random(0)  # noqa: S311  repeatable on purpose
    hits = 0
    for _ in range(count):
        if task.stopping.is_set():
            break
        hits += chance.randrange(choices) == 0
    task.say(f"{hits} of {count} guesses were right")
    return {"accuracy": hits / count, "num_samples": count}
