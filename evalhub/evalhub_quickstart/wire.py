"""Request bodies in the chat completions format."""

from __future__ import annotations

from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_quickstart.options import Options

DEFAULT_TEMPERATURE = 0.0


def request_body(model: Model, options: Options, default_max_tokens: int) -> JsonObject:
    """The request body without the messages; see :meth:`Model.request`."""
    defaults: JsonObject = {"temperature": DEFAULT_TEMPERATURE, "max_tokens": default_max_tokens}
    explicit: JsonObject = {
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
    }
    return model.request(defaults, explicit)
