"""Answers of chat completions and completions: the first choice and the numbers of tokens.

Field names and shapes follow OpenAI's API reference, as most model servers do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from evalhub_common.adapter.json_values import as_list, as_object, parse_object

_THINKING = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)


@dataclass(frozen=True)
class Choice:
    """The first choice of an answer. ``output_tokens`` is None if the endpoint does not report it."""

    text: str
    finish_reason: str | None
    output_tokens: int | None


def read_choice(body: bytes, *, chat: bool = False) -> Choice | None:
    """The first choice of a chat completion (its message) or of a completion (its text); None if the body is neither.

    ``chat`` accepts chat completions only. The text of a message without content is empty.
    """
    document = parse_object(body)
    choices = as_list(document.get("choices"))
    choice = as_object(choices[0]) if choices else None
    if choice is None:
        return None
    message = as_object(choice.get("message"))
    text = _text(message.get("content")) if message is not None else choice.get("text")
    if not isinstance(text, str) or (chat and message is None):
        return None
    tokens = (as_object(document.get("usage")) or {}).get("completion_tokens")
    reason = choice.get("finish_reason")
    return Choice(
        text=text,
        finish_reason=reason if isinstance(reason, str) else None,
        output_tokens=tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None,
    )


def without_thinking(text: str) -> str:
    """The text without the leading ``<think>`` block of reasoning models."""
    return _THINKING.sub("", text, count=1)


def _text(content: object) -> str:
    """The text of a message's content, which is a string, a list of parts, or null (a refusal, or only
    reasoning)."""
    if isinstance(content, str):
        return content
    texts = [(as_object(part) or {}).get("text") for part in as_list(content) or ()]
    return "".join(text for text in texts if isinstance(text, str))
