"""The exporter ``webhook``: it owes a message for every selected event of every job."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from evalhub_notify_webhook.events import DELETED, body, event_of, message_id
from evalhub_notify_webhook.resolver import NotPublicError, PublicResolver
from evalhub_notify_webhook.settings import WebhookSettings, checked
from evalhub_notify_webhook.signature import parse_secrets, sign
from evalhub_server.plugins import (
    SERVER_VERSION,
    Exporter,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    OutboxEntry,
    SettingsError,
    proxy_options,
)

_GONE = 410
_NOT_PUBLIC = "{}; to allow it, set webhook.allow_private_addresses: true"
PAUSES_S = (0.5, 2.0)
"""Between the tries of a message that nobody keeps, within the time that an observer has."""


class DeliveryError(Exception):
    """The endpoint did not take a message; trying again later may help."""


class WebhookExporter(Exporter):
    """Posts signed messages to one endpoint. No job asks for them, so they are not among a job's results."""

    name = "webhook"

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        in_service: list[WebhookExporter] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``in_service`` lists the exporters that are in use: between :meth:`check` and :meth:`close`.

        Raises :class:`SettingsError`.
        """
        self._settings = checked(settings)
        self._in_service = [] if in_service is None else in_service
        self._url = URL(settings.url)
        self._clock = clock

    async def check(self) -> None:
        """Raises :class:`StartupError` if there is no usable secret in the file."""
        await self._secrets()
        self._in_service.append(self)

    async def close(self) -> None:
        if self in self._in_service:
            self._in_service.remove(self)

    def wants(self, job: JobRecord) -> bool:
        return False

    def owes(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        event = event_of(before, after)
        return (event,) if event in self._settings.events else ()

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Post one message. A receiver that gets it twice sees the same ``webhook-id``."""
        sent_as = message_id(job, entry.event, entry.revision)
        await self._post(sent_as, body(job, entry.event, entry.since))
        return ExportOutcome(reference=sent_as)

    async def deleted(self, job: JobRecord) -> None:
        """Tell of a job that is gone, and with it everything that could be owed: a few tries, then never again."""
        if DELETED not in self._settings.events:
            return
        sent_as, text = message_id(job, DELETED, 1), body(job, DELETED, job.progress.updated_at)
        for pause_s in (*PAUSES_S, None):
            try:
                await self._post(sent_as, text)
            except DeliveryError:
                if pause_s is None:
                    raise
                await asyncio.sleep(pause_s)
            else:
                return

    async def _post(self, sent_as: str, text: bytes) -> None:
        """Raises :class:`DeliveryError`, and :class:`ExportRefused` for what will never be."""
        settings = self._settings
        signed = sign(await self._secrets(), sent_as, int(self._clock()), text)
        tls = await asyncio.to_thread(self._tls)  # which takes long enough to hold up events
        resolver = None if settings.allow_private_addresses else PublicResolver()
        host = self._url.host
        headers = {
            **signed,
            "Content-Type": "application/json",
            "User-Agent": f"eval-hub-server/{SERVER_VERSION}",
        }
        options = await self._options(headers, resolver)
        if "proxy" in options:
            resolver = None  # the proxy connects, and is itself in a private network
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=tls, resolver=resolver, use_dns_cache=False),
                    timeout=aiohttp.ClientTimeout(total=settings.http_timeout),
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.post(
                    self._url,
                    data=text,
                    allow_redirects=False,  # to where nobody has looked
                    **options,
                ) as answer,
            ):
                status = answer.status
        except TimeoutError:
            raise DeliveryError(f"{host} did not answer within {settings.http_timeout:g} s") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, NotPublicError):
                raise ExportRefused(_NOT_PUBLIC.format(error.os_error)) from None
            raise DeliveryError(f"{host} cannot be reached: {error.os_error}") from None
        except aiohttp.InvalidURL:
            raise ExportRefused(f"{host} is neither a name nor an address as it is usually written") from None
        except aiohttp.ClientError as error:
            raise DeliveryError(f"{host} broke off: {type(error).__name__}") from None
        if status == _GONE:
            raise ExportRefused(f"{host} answered 410: it wants no messages any more")
        if not 200 <= status < 300:
            raise DeliveryError(f"{host} answered {status} instead of 2xx")

    async def _options(self, headers: dict[str, str], resolver: PublicResolver | None) -> dict[str, Any]:
        """The headers, and the proxy if there is to be one, which must lead to nothing that is not public.

        Raises :class:`ExportRefused`, and :class:`DeliveryError` for an impossible proxy.
        """
        if not self._settings.proxy_from_environment:
            return {"headers": headers}
        try:
            options = proxy_options(self._settings.url, headers)
        except ValueError as error:
            raise DeliveryError(str(error)) from None
        if "proxy" in options and resolver is not None:
            try:
                await resolver.resolve(self._url.host or "")
            except NotPublicError as error:
                raise ExportRefused(_NOT_PUBLIC.format(error)) from None
            except OSError:
                return options  # behind a proxy, names of the internet are often unknown
        return options

    def _tls(self) -> ssl.SSLContext | bool:
        if not self._settings.ca_cert_path:
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(Path(self._settings.ca_cert_path).expanduser())
        return context

    async def _secrets(self) -> list[bytes]:
        settings = self._settings
        if settings.secret:
            return parse_secrets(settings.secret, "webhook.secret")
        return await asyncio.to_thread(_secrets_in, Path(settings.secret_path))


def _secrets_in(file: Path) -> list[bytes]:
    try:
        text = file.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"webhook.secret_path: {file} cannot be read: {reason}") from None
    return parse_secrets(text, f"webhook.secret_path: {file}")
