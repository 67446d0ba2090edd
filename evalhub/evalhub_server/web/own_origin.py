"""The origins under which browsers reach this server, for requests that only its own pages may send.

They are the origin of ``service.root_url``, and scheme and host of the request: those that the client sent, or, from a proxy in
``service.trusted_proxies``, ``X-Forwarded-Proto`` and ``X-Forwarded-Host``.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Set
from functools import lru_cache
from typing import Any

from evalhub_common.urls import normalize_origin
from evalhub_server.settings import ServiceSettings
from evalhub_server.settings.path_prefix import proxy_network
from evalhub_server.settings.root_url import root_origin

CACHE_SIZE = 256


class TrustedProxies:
    """The proxies whose headers about the original request are used: addresses and networks of the configuration."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._networks = [proxy_network(entry) for entry in entries]
        self._is_trusted = lru_cache(CACHE_SIZE)(self._contains)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def sent(self, scope: Any) -> bool:
        """Whether one of them sent a request."""
        return bool(self._networks and scope["client"]) and self._is_trusted(scope["client"][0])

    def _contains(self, host: str) -> bool:
        """Whether an address is in one of the networks; one that is mapped to IPv6 is that of IPv4."""
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self._networks)


class OwnOrigins:
    """Finds the origins of this server for a request."""

    def __init__(self, service: ServiceSettings) -> None:
        self._configured = root_origin(service.root_url)
        self._proxies = TrustedProxies(service.trusted_proxies)

    def of(self, scope: Any, fields: Mapping[bytes, bytes]) -> Set[str]:
        """The origins, normalized. ``fields`` are the headers of the request by lower-case name."""
        return {origin for origin in (self._configured, self._requested(scope, fields)) if origin}

    def shown(self, scope: Any, fields: Mapping[bytes, bytes]) -> str:
        """The origin for links: the configured one, or that of the request; empty if its host is malformed."""
        return self._configured or self._requested(scope, fields) or ""

    def _requested(self, scope: Any, fields: Mapping[bytes, bytes]) -> str | None:
        scheme, host = scope["scheme"].encode(), fields.get(b"host", b"")
        if self._proxies.sent(scope):
            # Of several proxies, the first one is the one that the browser reached.
            scheme = fields.get(b"x-forwarded-proto", scheme).partition(b",")[0].strip()
            host = fields.get(b"x-forwarded-host", host).partition(b",")[0].strip()
        return normalize_origin((scheme + b"://" + host).decode("latin-1"))
