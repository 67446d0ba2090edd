"""Request bodies in the chat completions format."""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_common.adapter.json_values import JsonObject
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
