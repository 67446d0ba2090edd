"""Credential references: what an adapter sees in place of a tenant's model credentials."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from evalhub_runtime_k8s.sidecar_config import sidecar_url
from evalhub_server.plugins import LaunchError

API_KEY = "api-key"
CREDENTIAL_ENDINGS = ("_api-key", "_sa_token")
URL_ENDING = "_url"
FOR_ADAPTERS = ("hf-token", "ca_cert")
"""Keys whose values the adapter gets unchanged."""


def references(secret_ref: str, data: Mapping[str, str], base_url: str) -> dict[str, str]:
    """Return the ``data`` of the Secret that replaces the tenant's; both map keys to base64.

    A credential becomes ``<key>:ref``, which the sidecar replaces in requests to the model; the address of a model
    becomes the sidecar's; other keys are left out. Empty if there is no credential. Raises :class:`LaunchError`.
    """
    if not any(_is_credential(key) for key in data):
        return {}
    found: dict[str, str] = {}
    for key, value in data.items():
        if _is_credential(key):
            found[key] = _encoded(f"{key}:ref")
        elif key.endswith(URL_ENDING):
            found[key] = _encoded(sidecar_url(_decoded(secret_ref, key, value), base_url))
    return found


def _is_credential(key: str) -> bool:
    return key == API_KEY or key.endswith(CREDENTIAL_ENDINGS)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(secret_ref: str, key: str, value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise LaunchError(
            f"The key '{key}' of the secret '{secret_ref}' is not text; set it to a URL."
        ) from None
