"""Explanations of what benchmarks require of endpoints and machines, for people who are about to run them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

_NEEDS = {
    "prompt_logprobs": (
        "needs the log-probabilities of prompts (completions with echo and logprobs), which vLLM returns, and Ollama and"
        " llama.cpp do not"
    ),
    "sandbox": "runs code or tools of the model in a sandbox, such as Docker",
    "judge": "needs a judge model, which the parameters name",
    "embeddings": "needs an embedding model",
    "gpu": "needs a GPU on the machine of the adapter",
    "data": "needs test data of your own",
}
"""By the values of ``requires``. Chat completions are left out: every endpoint has them."""


def open_requirements(
    requires: Sequence[str], parameters: Mapping[str, object], *, has_data: bool
) -> list[str]:
    """The requirements that a job does not meet itself: with test data, with a judge or a sandbox in the parameters."""
    given = {name for name, value in parameters.items() if value not in (None, "")}
    met = {"judge": any("judge" in name for name in given), "sandbox": "sandbox" in given, "data": has_data}
    return [name for name in requires if not met.get(name, False)]


def requirement_texts(requires: Sequence[str], generating_twin: str = "") -> Iterator[str]:
    """A clause for each requirement that not every endpoint or machine meets, such as "needs an embedding model".

    ``generating_twin`` is the id of the benchmark that has the same questions and needs chat completions only.
    """
    for name in requires:
        if text := _NEEDS.get(name):
            yield text + twin_text(generating_twin) if name == "prompt_logprobs" else text


def twin_text(generating_twin: str) -> str:
    """The clause that names the twin, beginning with a semicolon; empty if there is none."""
    return f"; '{generating_twin}' has the same questions for chat endpoints" if generating_twin else ""
