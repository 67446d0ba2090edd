"""The places that requests go to."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from functools import cached_property
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientTimeout
from yarl import URL

from evalhub_sidecar import logs

CONNECT_TIMEOUT_S = 30.0


class Upstream:
    """A server, a model, a registry: its address, how it is trusted, and how long it may be silent.

    ``timeout_s`` is the longest wait for the next bytes of an answer, not for all of it: answers may stream for
    hours. ``ca_file`` and ``ca_text`` (PEM) are trusted beside the system's authorities.
    """

    def __init__(
        self,
        whom: str,
        url: str,
        *,
        timeout_s: float,
        ca_file: str = "",
        ca_text: str = "",
        verify: bool = True,
    ) -> None:
        parts = urlsplit(url)
        self.whom = whom
        self.host = (parts.hostname or "").lower()
        self.secure = parts.scheme == "https"
        self.origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.path = parts.path.rstrip("/")
        self.basic = _basic(parts.username, parts.password)
        """What user and password in the address mean as a header, or empty."""
        self.timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=timeout_s)
        self._ca_file = ca_file
        self._ca_text = ca_text
        self._verify = verify

    def url(self, target: str) -> URL:
        """The address of a request target (path and query), which stays as the client wrote it."""
        return URL(self.origin + target, encoded=True)

    @cached_property
    def proxy(self) -> str | None:
        """The proxy that the environment names for this place; none for this host itself."""
        if is_loopback(self.host) or proxy_bypass(self.host):
            return None
        return getproxies().get("https" if self.secure else "http")

    @cached_property
    def tls(self) -> ssl.SSLContext | bool:
        """Made when it is first needed: reading the system's authorities takes a while on a slow CPU."""
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
            # A cluster without a service CA mounts none; the system's authorities may do.
            logs.warning(
                "CA certificates cannot be used", whom=self.whom, file=self._ca_file, error=str(error)
            )
        return context


def is_loopback(host: str) -> bool:
    """Is this a name or an address of this very host?"""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _basic(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
