"""The configuration section ``webhook``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_notify_webhook.events import EVENTS, FINISHED
from evalhub_notify_webhook.signature import parse_secrets
from evalhub_server.plugins import SettingsError, Timespan, is_address, is_public, split_http_url


class WebhookSettings(Struct, kw_only=True, frozen=True):
    """Section ``webhook``: messages about jobs."""

    url: Annotated[
        str,
        Meta(
            description="Endpoint that messages about jobs are posted to.",
            examples=["https://hooks.example.com/evaluations"],
        ),
    ] = ""
    secret: Annotated[
        str,
        Meta(
            description="Key that messages are signed with: `whsec_` and base64.",
            examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        ),
    ] = ""
    secret_path: Annotated[
        str,
        Meta(
            description="File with the key instead, read for every message. A second line adds a second signature, to change the key without a gap.",
            examples=["/etc/evalhub/webhook-secret"],
        ),
    ] = ""
    events: Annotated[
        tuple[str, ...],
        Meta(
            description="Events to send messages about. There are also `job.created`, `job.running` and `job.deleted`.",
            examples=[["job.completed", "job.partially_failed", "job.failed", "job.cancelled"]],
        ),
    ] = FINISHED
    allow_private_addresses: Annotated[
        bool, Meta(description="Permit an endpoint on this computer or in a private network.")
    ] = False
    ca_cert_path: Annotated[
        str,
        Meta(
            description="PEM file with authorities to trust beside the system's.",
            examples=["/etc/evalhub/ca.pem"],
        ),
    ] = ""
    proxy_from_environment: Annotated[
        bool,
        Meta(
            description="Post through the proxy that `HTTPS_PROXY` and related variables name. The proxy then decides about names that cannot be resolved here."
        ),
    ] = False
    http_timeout: Annotated[Timespan, Meta(description="Time limit for an answer of the endpoint.")] = (
        Timespan(10)
    )

    def __repr__(self) -> str:
        """Short, because the fields hold secrets."""
        return f"WebhookSettings(events={self.events!r})"


def checked(settings: WebhookSettings) -> WebhookSettings:
    """The settings. Raises :class:`SettingsError` for invalid ones; nothing is sent."""
    _check_url(settings)
    if bool(settings.secret) == bool(settings.secret_path):
        raise SettingsError(
            "webhook.secret: messages must be signed; set either this or webhook.secret_path, for example to the "
            'output of: echo "whsec_$(openssl rand -base64 32)"'
        )
    if settings.secret:
        parse_secrets(settings.secret, "webhook.secret")
    for event in settings.events:
        if event not in EVENTS:
            raise SettingsError(f"webhook.events: {event!r} is not an event; choose from {', '.join(EVENTS)}")
    if settings.http_timeout <= 0:
        raise SettingsError('webhook.http_timeout: must be above 0; write for example "10s"')
    if settings.ca_cert_path and not Path(settings.ca_cert_path).expanduser().is_file():
        raise SettingsError(f"webhook.ca_cert_path: {settings.ca_cert_path} is not a file; name a PEM file")
    return settings


def _check_url(settings: WebhookSettings) -> None:
    # Messages do not contain the URL: for many services it is a secret.
    if not settings.url:
        raise SettingsError("webhook.url: is not set; write the URL of the endpoint")
    parts = split_http_url(settings.url)
    if parts is None:
        raise SettingsError("webhook.url: is not an http or https URL; write https://host/path")
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise SettingsError("webhook.url: has a user or password in it; messages are signed instead")
    # Names are resolved for each message.
    if is_address(host) and not (settings.allow_private_addresses or is_public(host)):
        raise SettingsError(
            f"webhook.url: {host} is not a public address; to allow it, set webhook.allow_private_addresses: true"
        )
