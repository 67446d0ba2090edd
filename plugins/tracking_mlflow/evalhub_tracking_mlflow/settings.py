"""The configuration section ``mlflow``."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Duration, SettingsError, split_http_url


class MlflowSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``mlflow``: an MLflow tracking server."""

    tracking_uri: Annotated[
        str,
        Meta(
            description="URL of an MLflow server; may contain a user and a password.",
            examples=["http://localhost:5000"],
        ),
    ] = ""
    http_timeout: Annotated[Duration, Meta(description="Time limit for one request to MLflow.")] = Duration(
        30
    )
    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with authorities to trust instead of the system's.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""
    token: Annotated[
        str,
        Meta(
            description="Token for MLflow, sent in `Authorization`; unchanged if it begins with `Bearer` or `Basic`.",
            examples=["secret"],
        ),
    ] = ""
    token_path: Annotated[
        str,
        Meta(
            description="File with the token, read for every request; takes precedence over `mlflow.token`.",
            examples=["/etc/evalhub/mlflow-token"],
        ),
    ] = ""
    workspace: Annotated[
        str,
        Meta(
            description="Workspace of jobs without a tenant, on MLflow servers with workspaces; a tenant has its own.",
            examples=["default"],
        ),
    ] = ""

    def __repr__(self) -> str:
        """Short, because the fields contain secrets."""
        return f"MlflowSettings(workspace={self.workspace!r})"


def check_settings(settings: MlflowSettings) -> None:
    """Raises :class:`SettingsError` for an invalid URL."""
    uri = settings.tracking_uri
    if not uri:
        raise SettingsError("mlflow.tracking_uri: is missing; write the URL of an MLflow server.")
    if split_http_url(uri) is None:
        raise SettingsError(
            f"mlflow.tracking_uri: {uri!r} is not the http or https URL of an MLflow server, such as "
            f"http://localhost:5000. Start one with: mlflow server"
        )


def tls_context(settings: MlflowSettings) -> ssl.SSLContext | None:
    """The TLS settings with the trusted certificates, or None for the system's. Raises :class:`SettingsError` if they cannot be read."""
    if not settings.ca_cert_path:
        return None
    try:
        return ssl.create_default_context(cafile=Path(settings.ca_cert_path))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(
            f"mlflow.ca_cert_path: {settings.ca_cert_path} cannot be used: {reason}. It must be a PEM file of certificates."
        ) from None
