"""The exporter ``webhook``: a message for each selected event of each job."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from evalhub_notify_webhook.events import DELETED, body, event_of, message_id
from evalhub_notify_webhook.settings import WebhookSettings, checked
from evalhub_notify_webhook.signature import parse_secrets, sign
from evalhub_server.plugins import (
    SERVER_VERSION,
    Backoff,
    Exporter,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    OutboxEntry,
    SettingsError,
    is_public,
    proxy_options,
)

_GONE = 410
_NOT_PUBLIC = "{}; to allow it, set webhook.allow_private_addresses: true"
RETRY = Backoff(first_s=0.5, max_s=2.0)
MAX_ATTEMPTS = 3
"""For messages about deleted jobs, which have no outbox entry, within the time limit of an observer."""


class DeliveryError(Exception):
    """The endpoint did not accept a message; a retry may succeed."""


class NotPublicError(OSError):
    """A name resolves to an address that is not public."""


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that is not public.

    Connections are made to the resolved addresses only, so DNS rebinding has no effect.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        for result in results:
            if not is_public(result["host"]):
                raise NotPublicError(f"{host} has the address {result['host']}, which is not public")
        return results

    async def close(self) -> None:
        await self._resolver.close()


class WebhookExporter(Exporter):
    """Posts signed messages to one endpoint. They are independent of a job's ``exports``, and not part of its results."""

    name = "webhook"

    def __init__(
        self,
        settings: WebhookSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises :class:`SettingsError`."""
        self._settings = checked(settings)
        self._url = URL(settings.url)
        self._clock = clock

    async def check(self) -> None:
        """Raises :class:`SettingsError` if the file has no usable secret."""
        await self._secrets()

    def is_requested(self, job: JobRecord) -> bool:
        return False

    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        event = event_of(before, after)
        return (event,) if event in self._settings.events else ()

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Post one message. Duplicates have the same ``webhook-id``."""
        webhook_id = message_id(job, entry.event, entry.revision)
        await self._post(webhook_id, body(job, entry.event, entry.since))
        return ExportOutcome(reference=webhook_id)

    async def job_deleted(self, job: JobRecord) -> None:
        """Post a message about a deleted job, in a few attempts: its outbox entries are deleted, too."""
        if DELETED not in self._settings.events:
            return
        webhook_id, text = message_id(job, DELETED, 1), body(job, DELETED, job.progress.updated_at)
        for failures in range(1, MAX_ATTEMPTS + 1):
            try:
                await self._post(webhook_id, text)
            except DeliveryError:
                if failures == MAX_ATTEMPTS:
                    raise
                await asyncio.sleep(RETRY.delay_s(failures))
            else:
                return

    async def _post(self, webhook_id: str, text: bytes) -> None:
        """Raises :class:`DeliveryError`, and :class:`ExportRefused` for final errors."""
        settings = self._settings
        signed = sign(await self._secrets(), webhook_id, int(self._clock()), text)
        tls = await asyncio.to_thread(self._tls)  # loading certificates blocks
        resolver = None if settings.allow_private_addresses else PublicResolver()
        host = self._url.host
        headers = {
            **signed,
            "Content-Type": "application/json",
            "User-Agent": f"eval-hub-server/{SERVER_VERSION}",
        }
        options = await self._options(headers, resolver)
        if "proxy" in options:
            resolver = None  # the proxy connects, and often has a private address
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
                    allow_redirects=False,  # whose target was not checked
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
            raise ExportRefused(f"{host} is not a valid host name or address") from None
        except aiohttp.ClientError as error:
            raise DeliveryError(f"{host} closed the connection: {type(error).__name__}") from None
        if status == _GONE:
            raise ExportRefused(f"{host} answered 410: it does not accept messages any more")
        if not 200 <= status < 300:
            raise DeliveryError(f"{host} answered {status} instead of 2xx")

    async def _options(self, headers: dict[str, str], resolver: PublicResolver | None) -> dict[str, Any]:
        """Keyword arguments of the request: the headers and, if enabled, the proxy.

        Raises :class:`ExportRefused` if the endpoint is known not to be public, :class:`DeliveryError` for an unusable
        proxy.
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
                return options  # behind a proxy, public names often cannot be resolved
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
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"webhook.secret_path: {file} cannot be read: {reason}") from None
    return parse_secrets(text, f"webhook.secret_path: {file}")
