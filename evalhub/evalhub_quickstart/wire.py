"""The chat completions format: request bodies, responses and errors.

Field names and shapes follow OpenAI's API reference, as most model servers do.
"""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, parse
from evalhub_common.adapter.model import Model
from evalhub_quickstart.options import Options

DEFAULT_TEMPERATURE = 0.0


def request_body(model: Model, options: Options, default_max_tokens: int) -> JsonObject:
    """The request body without the messages.

    Explicit benchmark parameters take precedence over ``model.parameters``, and these over the defaults. A null in
    ``model.parameters`` omits the field from the request: some endpoints refuse a temperature, for
    example.
    """
    explicit: Mapping[str, object] = {
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
    }
    body: JsonObject = {"temperature": DEFAULT_TEMPERATURE, "max_tokens": default_max_tokens}
    # The newer name of the same limit; endpoints refuse requests with both.
    if "max_completion_tokens" in model.parameters:
        del body["max_tokens"]
    body.update(model.parameters)
    body.update({name: value for name, value in explicit.items() if value is not None})
    return {"model": model.name, **{name: value for name, value in body.items() if value is not None}}


def read_completion(body: bytes) -> tuple[str, int | None] | None:
    """The text and the number of output tokens in a chat completion.

    The text of a message without content is empty. The count is None if the endpoint does not report it. The
    result is None if the body is not a chat completion.
    """
    try:
        document = as_object(parse(body)) or {}
    except ValueError:
        return None
    choices = as_list(document.get("choices"))
    choice = as_object(choices[0]) if choices else None
    message = as_object(choice.get("message")) if choice else None
    if message is None:
        return None
    tokens = (as_object(document.get("usage")) or {}).get("completion_tokens")
    counted = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
    return _text(message.get("content")), counted


def _text(content: object) -> str:
    """The text of a message's content, which is a string, a list of parts, or null (a refusal, or only
    reasoning)."""
    if isinstance(content, str):
        return content
    texts = [(as_object(part) or {}).get("text") for part in as_list(content) or ()]
    return "".join(text for text in texts if isinstance(text, str))
