"""Requests before a run, which find out whether a model endpoint has what a benchmark needs."""

from __future__ import annotations

from evalhub_common.adapter.connection import Target
from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_unusable
from evalhub_common.adapter.prompt_tokens import prompt_body, read_prompt_tokens

CHAT_PROMPT = "Reply with the single word: ready"
TEXT_PROMPT = "The quick brown fox jumps over the lazy"
MAX_TOKENS = 16


def probe_chat(client: ModelClient, model: Model) -> None:
    """Check that the endpoint can chat, with one trivial prompt.

    Raises:
        ModelUnusable: the text names the URL, the failure and what to check.
    """
    body = model.request({"max_tokens": MAX_TOKENS}, {})
    probe_text(client, model, model.chat, {**body, "messages": [{"role": "user", "content": CHAT_PROMPT}]})


def probe_text(client: ModelClient, model: Model, target: Target, body: JsonObject) -> None:
    """Check that the endpoint answers one request with a text. Raises as :func:`probe_chat`."""
    try:
        client.complete(target, body, retry_refused=False)
    except RequestFailed as failure:
        raise endpoint_unusable(failure, model, target.url) from failure


def probe_prompt_logprobs(client: ModelClient, model: Model) -> str | None:
    """Find out whether the endpoint reports the log-probabilities of a prompt's tokens.

    Returns None if it does. Otherwise the endpoint can chat, and the text is its answer in parentheses, or empty if it ignored what
    was requested.

    Raises:
        ModelUnusable: the endpoint cannot be used at all; as :func:`probe_chat`.
    """
    target = model.completions
    try:
        answer, attempts = client.post(target, prompt_body(model, TEXT_PROMPT, seed=0), retry_refused=False)
        if read_prompt_tokens(answer.body, TEXT_PROMPT) is not None:
            return None
        client.choice(answer, attempts, chat=False)
    except RequestFailed as failure:
        if not _is_refusal(failure.status):
            raise endpoint_unusable(failure, model, target.url) from failure
        probe_chat(client, model)  # a wrong address or model name is another problem
        return f"({failure})"
    return ""


def _is_refusal(status: int | None) -> bool:
    """Whether a status may be about the request itself: 501, and those of clients except for credentials and rate limits."""
    return status == 501 or (status is not None and 400 <= status < 500 and status not in (401, 403, 429))
