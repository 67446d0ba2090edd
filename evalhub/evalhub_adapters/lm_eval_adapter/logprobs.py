"""Log-probabilities of a continuation, from the log-probabilities of a prompt's tokens.

lm-evaluation-harness tokenizes context and continuation to learn where the continuation begins. Here the endpoint reports where
each token begins (``text_offset``), so that no tokenizer is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalhub_common.adapter.prompt_tokens import Token


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
