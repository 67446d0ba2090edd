"""Prompts of the load test: each of its own, so that no cache of prompts answers for the model."""

from __future__ import annotations

import random

_TASK = "Write a long story in which all of these words occur, in any order:"
_WORDS = [
    "apple",
    "river",
    "stone",
    "light",
    "garden",
    "winter",
    "table",
    "music",
    "paper",
    "horse",
    "window",
    "letter",
    "silver",
    "bridge",
    "market",
    "doctor",
    "summer",
    "forest",
    "orange",
    "kitchen",
    "pocket",
    "travel",
    "mountain",
    "simple",
    "answer",
    "circle",
    "engine",
    "family",
    "golden",
    "island",
    "jacket",
    "ladder",
    "mirror",
    "number",
    "ocean",
    "pencil",
    "quiet",
    "rocket",
    "shadow",
    "ticket",
    "under",
    "valley",
    "water",
    "yellow",
    "animal",
    "basket",
    "candle",
    "dinner",
    "evening",
    "flower",
]


def load_prompt(name: str, tokens: int, seed: int) -> str:
    """The prompt of the request ``name``, of about ``tokens`` tokens; the same in every run.

    Most tokenizers have one token for each of the words. The first words differ from prompt to prompt.
    """
    draw = random.Random(f"{seed} {name}")  # noqa: S311  not a secret
    words = draw.choices(_WORDS, k=max(tokens - len(_TASK.split()) - 2, 1))
    return f"{' '.join(words[:2]).capitalize()}. {_TASK} {' '.join(words[2:])}".strip()
