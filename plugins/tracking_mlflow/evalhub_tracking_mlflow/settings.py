"""The configuration section ``mlflow``."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_server.plugins import Duration, SettingsError


class MlflowSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``tracking_uri`` is the URL of an MLflow server; it may carry a user and a password.

    ``token`` goes into the header ``Authorization``, as it is if it begins with ``Bearer`` or ``Basic``. ``token_path``
    is a file with the token, read again for every request, and preferred. ``ca_cert_path`` replaces the system's
    certificates. ``workspace`` is that of jobs without a tenant, on servers with workspaces; a tenant has its own.
    """

    tracking_uri: str = ""
    http_timeout: Duration = Duration(30)
    ca_cert_path: str = ""
    token: str = ""
    token_path: str = ""
    workspace: str = ""


def check_settings(settings: MlflowSettings) -> None:
    """Raises :class:`SettingsError` for an address that is none."""
    uri = settings.tracking_uri
    if not uri:
        raise SettingsError("mlflow.tracking_uri: is missing; write the URL of an MLflow server.")
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018  raises for one that is no number
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"mlflow.tracking_uri: {uri!r} is not the http or https URL of an MLflow server, such as "
            f"http://localhost:5000. Start one with: mlflow server"
        )


def tls_context(settings: MlflowSettings) -> ssl.SSLContext | None:
    """The certificates to trust, or None for the system's. Raises :class:`SettingsError` if they cannot be read."""
    if not settings.ca_cert_path:
        return None
    try:
        return ssl.create_default_context(cafile=Path(settings.ca_cert_path))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"mlflow.ca_cert_path: {settings.ca_cert_path} cannot be used: {reason}. It has to be a file of certificates in PEM."
        ) from None
