"""What of a tenant's model credentials an adapter gets to see: references in place of the values."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from evalhub_runtime_k8s.model_url import behind_sidecar
from evalhub_server.plugins import LaunchError

API_KEY = "api-key"
CREDENTIAL_ENDINGS = ("_api-key", "_sa_token")
URL_ENDING = "_url"
FOR_ADAPTERS = ("hf-token", "ca_cert")
"""Keys that the adapter gets as they are."""


def references(secret_ref: str, data: Mapping[str, str], base_url: str) -> dict[str, str]:
    """The ``data`` of the Secret that stands in for the tenant's: both are maps of key to base64.

    A credential becomes ``<key>:ref``, which the sidecar replaces on the way to the model; an address of a model
    leads to the sidecar; anything else is left out. Empty if there is no credential. Raises :class:`LaunchError`.
    """
    if not any(_is_credential(key) for key in data):
        return {}
    found: dict[str, str] = {}
    for key, value in data.items():
        if _is_credential(key):
            found[key] = _encoded(f"{key}:ref")
        elif key.endswith(URL_ENDING):
            found[key] = _encoded(behind_sidecar(_decoded(secret_ref, key, value), base_url))
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
            f"The key '{key}' of the secret '{secret_ref}' is not a text; write a URL."
        ) from None
