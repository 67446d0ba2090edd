"""The configuration section ``webhook``."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from evalhub_notify_webhook.addresses import is_public
from evalhub_notify_webhook.events import EVENTS, FINISHED
from evalhub_notify_webhook.signature import parse_secrets
from evalhub_server.plugins import SettingsError, Timespan


class WebhookSettings(Struct, kw_only=True, frozen=True):
    """``url``: where messages are posted. ``secret``: what they are signed with, ``whsec_`` and base64.

    ``secret_path``: a file with it instead, read for every message; with two lines, messages have two signatures,
    so that receivers can change over. ``events``: which there are messages for. ``allow_private_addresses``: the
    endpoint may be on this computer or in a private network. ``ca_cert_path``: a PEM file of authorities to trust
    beside the system's. ``proxy_from_environment``: post through the proxy that HTTPS_PROXY and its kin name; whom
    that reaches is then for it to decide, wherever this computer cannot look up the endpoint. ``http_timeout``: how long the endpoint may take to answer.
    """

    url: str = ""
    secret: str = ""
    secret_path: str = ""
    events: tuple[str, ...] = FINISHED
    allow_private_addresses: bool = False
    ca_cert_path: str = ""
    proxy_from_environment: bool = False
    http_timeout: Timespan = Timespan(10)

    def __repr__(self) -> str:
        """Short, because the fields hold secrets."""
        return f"WebhookSettings(events={self.events!r})"


def checked(settings: WebhookSettings) -> WebhookSettings:
    """Raises :class:`SettingsError` for what can be known to be wrong without sending anything."""
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
            raise SettingsError(f"webhook.events: {event!r} is no event; write some of {', '.join(EVENTS)}")
    if settings.http_timeout <= 0:
        raise SettingsError('webhook.http_timeout: must be longer than nothing; write for example "10s"')
    if settings.ca_cert_path and not Path(settings.ca_cert_path).expanduser().is_file():
        raise SettingsError(f"webhook.ca_cert_path: {settings.ca_cert_path} is no file; name a PEM file")
    return settings


def _check_url(settings: WebhookSettings) -> None:
    # The URL itself is not shown: with many services, who knows it may post.
    if not settings.url:
        raise SettingsError("webhook.url: is not set; write where messages are to be posted")
    try:
        parts = urlsplit(settings.url)
        host = parts.hostname if parts.port is None or parts.port else None
    except ValueError:
        raise SettingsError("webhook.url: is no URL; write https://host/path") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError("webhook.url: is no URL of HTTP; write https://host/path")
    if parts.username is not None or parts.password is not None:
        raise SettingsError("webhook.url: has a user or password in it; messages are signed instead")
    try:
        address = ip_address(host)
    except ValueError:
        return  # a name, which is looked up for every message
    if not (settings.allow_private_addresses or is_public(address)):
        raise SettingsError(
            f"webhook.url: {host} is not a public address; to allow it, set webhook.allow_private_addresses: true"
        )
