"""Errors of a model endpoint: the readable part of an error body, and advice for a first request that failed."""

from __future__ import annotations

from evalhub_common.adapter.errors import ModelUnusable, RequestFailed
from evalhub_common.adapter.json_values import as_object, parse_object
from evalhub_common.adapter.model import Model

SHOWN_CHARACTERS = 300


def error_message(body: bytes) -> str:
    """The readable part of an error body: OpenAI's ``error.message``, a plain ``error``, ``message`` or
    ``detail``, else the text itself; in one line."""
    text = body[:2000].decode("utf-8", "replace")
    document = parse_object(body)
    error = document.get("error")
    for found in (
        (as_object(error) or {}).get("message"),
        error,
        document.get("message"),
        document.get("detail"),
    ):
        if isinstance(found, str) and found:
            text = found
            break
    return " ".join(text.split()).rstrip(".")


def shown_error(body: bytes, model: Model) -> str:
    """The endpoint's error message, shortened and without the API key, after a colon; empty if there is none."""
    text = error_message(body)
    if model.secret.api_key:  # some endpoints quote the key that they reject
        text = text.replace(model.secret.api_key, "***")
    return f": {text[:SHOWN_CHARACTERS]}" if text else ""


def endpoint_unusable(failure: RequestFailed, model: Model, url: str) -> ModelUnusable:
    """The failure of a benchmark whose first request, to ``url``, failed."""
    return ModelUnusable(
        f"the model endpoint {url} cannot be used: {failure}. {endpoint_advice(failure, model)}"
    )


def endpoint_advice(failure: RequestFailed, model: Model) -> str:
    """One sentence of advice for a model endpoint whose first request failed."""
    address = f"{model.base.host}:{model.base.port}"
    if failure.status in (401, 403):
        return f"Check the credentials: {model.secret.origin}."
    if failure.status == 404:
        base = f"{model.base.scheme}://{address}/v1"
        return (
            f"Is the path in model.url right (is /v1 missing? Most servers want {base}), "
            f"and does the endpoint serve a model named '{model.name}'?"
        )
    if failure.status == 429:
        return "The endpoint limits requests: wait, or raise parameters.max_retries."
    if failure.status is not None:
        return "Check model.url, model.name and model.parameters, and the log of the model server."
    if failure.kind == "name":
        return "Check the spelling of the host in model.url and the name resolution of this machine."
    if failure.kind == "tls":
        return (
            "Is the endpoint really https? For a private certificate authority put its certificate "
            "as 'ca_cert' into the directory of model.auth.secret_ref."
        )
    if failure.kind == "timeout":
        return "Is the model still loading, or overloaded? parameters.timeout_s sets how long to wait."
    return f"Is the model server running, and does it listen on {address} with this scheme (http or https)?"
