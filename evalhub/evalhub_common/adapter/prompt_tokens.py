"""Log-probabilities of a prompt's tokens: the request (completions with ``echo`` and ``logprobs``) and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, parse_object
from evalhub_common.adapter.model import Model


@dataclass(frozen=True)
class Token:
    """A token of a prompt.

    ``start`` is the position of its first character in the prompt (negative for a token that the endpoint put before it).
    ``logprob`` is None for a token without a preceding one. ``greedy``: no other token was more likely.
    """

    start: int
    logprob: float | None
    greedy: bool


def read_prompt_tokens(answer: bytes, prompt: str) -> list[Token] | None:
    """The tokens of a prompt in an answer with ``echo`` and ``logprobs``; None if it does not have them.

    Only an answer that repeats the prompt and has log-probabilities and positions of at least two tokens counts: some endpoints
    ignore ``echo`` and answer with those of the generated token.
    """
    document = parse_object(answer)
    choices = as_list(document.get("choices"))
    choice = (as_object(choices[0]) if choices else None) or {}
    logprobs = as_object(choice.get("logprobs")) or {}
    values = as_list(logprobs.get("token_logprobs")) or []
    offsets = [offset for offset in as_list(logprobs.get("text_offset")) or [] if isinstance(offset, int)]
    tops = as_list(logprobs.get("top_logprobs")) or []
    text = choice.get("text")
    if (
        not isinstance(text, str)
        or prompt not in text
        or len(offsets) != len(values)
        or sum(map(_is_number, values)) < 2
    ):
        return None
    pieces = [str(piece) for piece in as_list(logprobs.get("tokens")) or []]
    if _has_generated(document, pieces, text, prompt):
        count, end = len(offsets) - 1, offsets[-1]
    else:
        count, end = len(offsets), offsets[-1] + len("".join(pieces[-1:]))
    # Positions count from the end: a token that the endpoint put before the prompt moves all of them.
    return [
        Token(
            start=offset - end + len(prompt),
            logprob=float(value) if isinstance(value, int | float) else None,
            greedy=_is_greedy(value, top),
        )
        for value, offset, top in zip_longest(values[:count], offsets[:count], tops[:count])
    ]


def prompt_body(model: Model, prompt: str, seed: int) -> JsonObject:
    """The body of a request for the log-probabilities of a prompt's tokens."""
    return {
        "model": model.name,
        "prompt": prompt,
        "temperature": 0,
        "max_tokens": 1,
        "logprobs": 1,
        "seed": seed,
        "echo": True,
    }


def _has_generated(document: JsonObject, pieces: Sequence[str], text: str, prompt: str) -> bool:
    """Whether the last of the tokens is the generated one, which most endpoints list after those of the prompt."""
    joined = "".join(pieces)
    if text[text.index(prompt) + len(prompt) :]:
        return joined.endswith(text) or not joined.endswith(prompt)
    usage = as_object(document.get("usage")) or {}
    return usage.get("completion_tokens") != 0 and usage.get("prompt_tokens") != len(pieces)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_greedy(value: object, top: object) -> bool:
    others = [other for other in (as_object(top) or {}).values() if isinstance(other, int | float)]
    return isinstance(value, int | float) and bool(others) and value >= max(others)
