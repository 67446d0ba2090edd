"""The model under test, as requests reach it."""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_sidecar.config import MODEL_TIMEOUT, Model
from evalhub_sidecar.secretdir import CA_CERT, read_secret_dir
from evalhub_sidecar.upstream import Upstream

MODEL = "the model"


def model_upstream(model: Model, secrets: Mapping[str, str] | None = None) -> Upstream:
    """Where the model is. Reads the secret directory if ``secrets`` are not given: call it in a thread then."""
    if secrets is None:
        secrets = read_secret_dir(model.auth_secret_mount_path)
    return Upstream(
        MODEL,
        model.url,
        timeout_s=MODEL_TIMEOUT if model.http_timeout is None else model.http_timeout,
        ca_text=secrets.get(CA_CERT, ""),
        verify=not model.insecure_skip_verify,
    )
