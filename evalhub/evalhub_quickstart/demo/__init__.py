"""A stand-in for a language model: a handful of rules that answer the bundled prompts from their text.

It exists so that the whole pipeline can be tried without a model, a download or an API key. It is **not**
a language model: it recognises the phrasings of the bundled benchmarks, and anything else gets a few
stock sentences. It never sees the data files or their expected answers. So that the metrics look like
metrics, it is deliberately wrong on a fixed share of the prompts, chosen by a hash of the prompt: equal
prompts always get equal answers. Its scores say nothing about any model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from evalhub_quickstart.demo.arithmetic import solve
from evalhub_quickstart.demo.objects import make_object
from evalhub_quickstart.demo.writing import write

MODEL_NAME = "quickstart-demo"


@dataclass(frozen=True)
class Reply:
    """An answer. Words count as tokens, since there is no tokeniser."""

    text: str
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


def reply_to(prompt: str, max_tokens: int | None) -> Reply:
    """Answer ``prompt`` with at most ``max_tokens`` words; None means as long as it takes."""
    if "Answer: <number>" in prompt:
        text = solve(prompt)
    elif "JSON" in prompt:
        text = make_object(prompt)
    else:
        text = write(prompt)
    words = re.findall(r"\s*\S+", text)
    cut = max_tokens is not None and len(words) > max_tokens
    if cut:
        words = words[:max_tokens]
    return Reply("".join(words), "length" if cut else "stop", len(prompt.split()), len(words))
