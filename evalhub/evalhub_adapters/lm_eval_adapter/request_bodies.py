"""Requests to the model's endpoint: bodies as lm-evaluation-harness sends them, and what the answers contain."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from evalhub_common.adapter.completions import read_choice, without_thinking
from evalhub_common.adapter.json_values import JsonObject, as_list, dump
from evalhub_common.adapter.model import Model

MAX_STOPS = 4
"""As many stop sequences as OpenAI's API accepts; the framework sends no more."""
DEFAULT_MAX_TOKENS = 256


def generation_body(
    model: Model,
    prompt: str | Sequence[Mapping[str, object]],
    task_settings: Mapping[str, object],
    explicit: Mapping[str, object],
    seed: int,
) -> JsonObject:
    """The body of a request for text: a chat for messages, a completion for a text.

    ``explicit`` settings of the job take precedence over the model's parameters, and these over the task's settings. A null in
    ``model.parameters`` omits the field.
    """
    settings = {name: value for name, value in task_settings.items() if name != "do_sample"}
    limit = settings.pop("max_gen_toks", DEFAULT_MAX_TOKENS)
    body: JsonObject = {
        "model": model.name,
        ("prompt" if isinstance(prompt, str) else "messages"): prompt,
        "max_tokens": limit,
        "temperature": 0,
        "seed": seed,
        **settings,
    }
    # The newer name of the same limit; endpoints refuse requests with both.
    if "max_completion_tokens" in model.parameters:
        del body["max_tokens"]
    body |= model.parameters
    body |= {name: value for name, value in explicit.items() if name != "do_sample"}
    stops = stop_sequences(body.pop("until", None))
    if stops and "stop" not in body:
        body["stop"] = stops[:MAX_STOPS]
    return {name: value for name, value in body.items() if value is not None}


def stop_sequences(until: object) -> list[str]:
    """The stop sequences of a task: a text, a list of texts, or none."""
    found = [until] if isinstance(until, str) else as_list(until) or []
    return [text for text in found if isinstance(text, str) and text]


def request_key(body: JsonObject, repeat: int) -> str:
    """A short name of a request: equal for equal requests. ``repeat`` counts the equal requests of one sample, from 0."""
    digest = hashlib.sha256(dump(body).encode()).hexdigest()[:32]
    return f"{digest}-{repeat}" if repeat else digest


def read_text(answer: bytes, until: Sequence[str]) -> str | None:
    """The generated text, without a leading ``<think>`` block; None if the answer is neither a chat nor a completion.

    It is cut at the stop sequences beyond those that the request had.
    """
    choice = read_choice(answer)
    if choice is None:
        return None
    text = without_thinking(choice.text)
    for stop in until[MAX_STOPS:]:
        text = text.partition(stop)[0]
    return text
