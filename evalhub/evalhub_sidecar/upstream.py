"""Upstreams of the sidecar: the server, models, MLflow and the registry."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientTimeout
from yarl import URL

from evalhub_common.http_auth import userinfo_auth
from evalhub_common.proxies import Proxy, find_proxy
from evalhub_common.urls import without_userinfo
from evalhub_sidecar import logs

CONNECT_TIMEOUT_S = 30.0


class ProxyError(ClientError):
    """The environment names an unusable proxy."""


class Upstream:
    """Address, TLS settings and timeout of an HTTP server.

    ``name`` is for messages, such as ``the model``. ``timeout_s`` limits the wait for the next bytes of a response, not
    for all of it: responses may stream for hours. ``ca_file`` and ``ca_text`` (PEM) are trusted in addition to the
    system's authorities.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_s: float,
        ca_file: str = "",
        ca_text: str = "",
        verify: bool = True,
    ) -> None:
        parts = urlsplit(url)
        self.name = name
        self.host = (parts.hostname or "").lower()
        self.secure = parts.scheme == "https"
        self.origin = f"{parts.scheme}://{without_userinfo(parts).netloc}"
        self.path = parts.path.rstrip("/")
        self.basic = userinfo_auth(parts)
        """The ``Authorization`` header for user and password of the URL, or empty."""
        self._timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=timeout_s)
        self._ca_file = ca_file
        self._ca_text = ca_text
        self._verify = verify

    def url(self, target: str) -> URL:
        """The URL of a request target (path and query), which stays as the client wrote it."""
        return URL(self.origin + target, encoded=True)

    def options(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Keyword arguments of an aiohttp request: headers, proxy, TLS settings and timeout.

        Raises:
            ProxyError
        """
        options = {"headers": headers} if self._proxy is None else self._proxy.options(headers)
        return {**options, "ssl": self.tls, "timeout": self._timeout}

    @cached_property
    def tls(self) -> ssl.SSLContext | bool:
        """Created for the first request: loading the system's authorities takes a while on a slow CPU."""
        if not self.secure:
            return True
        context = ssl.create_default_context()
        if not self._verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            if self._ca_file:
                context.load_verify_locations(cafile=self._ca_file)
            if self._ca_text:
                context.load_verify_locations(cadata=self._ca_text)
        except (OSError, ssl.SSLError) as error:
            # A cluster without a service CA mounts no file; the system's authorities may suffice.
            logs.warning(
                "CA certificates cannot be loaded", upstream=self.name, file=self._ca_file, error=str(error)
            )
        return context

    @cached_property
    def _proxy(self) -> Proxy | None:
        try:
            return find_proxy(self.origin)
        except ValueError as error:
            raise ProxyError(str(error)) from None
