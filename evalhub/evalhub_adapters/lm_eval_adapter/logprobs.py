"""Log-probabilities of a continuation, from the log-probabilities of a prompt's tokens.

lm-evaluation-harness tokenizes context and continuation to learn where the continuation begins. Here the endpoint reports where
each token begins (``text_offset``), so that no tokenizer is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, parse_object


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


def continuation_score(tokens: Sequence[Token], context: str) -> tuple[float, bool] | None:
    """The log-probability of what follows ``context``, and whether greedy decoding gives it.

    As in lm-evaluation-harness, white space at the end of the context belongs to the continuation, and a token that begins in the
    context does not count unless there is no other. None if no token has a log-probability.
    """
    start = len(context.rstrip())
    scored = [token for token in tokens if token.start >= start] or list(tokens[-1:])
    values = [token.logprob for token in scored if token.logprob is not None]
    if not values:
        return None
    return math.fsum(values), all(token.greedy for token in scored if token.logprob is not None)


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
