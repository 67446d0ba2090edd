"""From a failed first request to advice."""

from __future__ import annotations

from evalhub_quickstart.errors import RequestFailed
from evalhub_quickstart.model import Model


def what_to_check(failure: RequestFailed, model: Model) -> str:
    """One sentence of advice for a model endpoint whose first request failed."""
    where = f"{model.target.host}:{model.target.port}"
    if failure.status in (401, 403):
        return f"Check the credentials: {model.secret.origin}."
    if failure.status == 404:
        base = f"{model.target.scheme}://{where}/v1"
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
    return f"Is the model server running, and does it listen on {where} with this scheme (http or https)?"
