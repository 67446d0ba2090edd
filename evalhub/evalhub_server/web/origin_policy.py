"""Allowed values of ``Host`` and ``Origin``: CORS, and protection against cross-site requests and DNS rebinding.

A web page can make its visitor's browser send requests to a server on the visitor's computer. ``Origin`` then contains the
origin of the page. With DNS rebinding (the attacker's host name resolves to 127.0.0.1) page and server have the same
origin, and only ``Host`` contains the attacker's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from evalhub_common.addresses import is_address, is_loopback
from evalhub_common.urls import host_of, normalize_origin, origin_host
from evalhub_server.domain import request_problems
from evalhub_server.settings import Settings
from evalhub_server.settings.hosts import allowed_host, allowed_origin
from evalhub_server.settings.root_url import root_origin
from evalhub_server.web.own_origin import OwnOrigins
from evalhub_server.web.responses import Header

if TYPE_CHECKING:
    from litestar.types import HTTPScope

WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared, not bound


class HostRule:
    """Allows loopback, the address that the server is bound to, and the configured hosts, with any port.

    If the server is bound to all addresses, any IP address is allowed, too: DNS rebinding needs a host name. Raises
    :class:`SettingsError` for a configured entry that is not a host.
    """

    def __init__(self, bound: str, configured: Iterable[str] = ()) -> None:
        bound = bound.strip("[]").lower()
        self._any_address = bound in WILDCARDS
        self._names = {bound, *(allowed_host(entry) for entry in configured)} - WILDCARDS

    def allows(self, authority: str) -> bool:
        host = host_of(authority)
        if host is None:
            return False
        return host in self._names or is_loopback(host) or (self._any_address and is_address(host))


class OriginRule:
    """Allows the configured origins and, with ``loopback``, pages of this computer, over HTTP or HTTPS from any port.

    ``null``, the origin of sandboxed frames, local files and redirected requests, is not allowed. Raises
    :class:`SettingsError` for a configured entry that is not an origin.
    """

    def __init__(self, configured: Iterable[str] = (), *, loopback: bool = True) -> None:
        self._loopback = loopback
        self._configured = {allowed_origin(entry) for entry in configured}

    def allows(self, origin: str) -> bool:
        text = normalize_origin(origin)
        if text is None:
            return False
        if text in self._configured:
            return True
        if not self._loopback:
            return False
        host = origin_host(text)
        return host is not None and is_loopback(host)


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SAME_SITE = frozenset({b"same-origin", b"none"})
CACHE_SIZE = 256

VARY: Header = (b"vary", b"Origin")
VARY_ONLY = (VARY,)
EXPOSED: Header = (b"access-control-expose-headers", b"X-Global-Transaction-Id, ETag")
PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Content-Type, Authorization, X-Global-Transaction-Id, X-Tenant, X-User, If-Match, If-None-Match, Last-Event-ID, Idempotency-Key",
    ),
    (b"access-control-max-age", b"3600"),
)
PRIVATE_NETWORK: Header = (b"access-control-allow-private-network", b"true")


class OriginPolicy:
    """Checks ``Host`` and ``Origin`` in local mode; otherwise each of them if allowed values are configured.

    ``bound`` is the address of the listener. ``cors``: whether responses have CORS headers and preflights are answered.
    """

    def __init__(self, settings: Settings, bound: str) -> None:
        service = settings.service
        self.cors = settings.local or bool(service.allowed_origins)
        self._checks_host = settings.local or bool(service.allowed_hosts)
        root_host = origin_host(root_origin(service.root_url))
        hosts = HostRule(bound, (*service.allowed_hosts, *([root_host] if root_host else ())))
        self._own_origins = OwnOrigins(service)
        # Loopback pages are those of the browser's computer, which in a cluster is not the server's.
        origins = OriginRule(service.allowed_origins, loopback=settings.local)
        self._host_allowed = _cached(hosts.allows)
        self._origin_allowed = _cached(origins.allows)

    def check_host(self, http_version: str, fields: Mapping[bytes, bytes]) -> None:
        """Raise :class:`ApiError` for a value of ``Host`` that is not allowed, or missing."""
        host = fields.get(b"host")
        if host is None:
            # No browser uses HTTP/1.0, so a request without Host cannot come from a web page.
            if http_version != "1.0":
                raise request_problems.invalid_header("Host", "is missing")
        elif self._checks_host and not self._host_allowed(host):
            raise request_problems.host_not_allowed(host.decode("latin-1"))

    def cors_headers(self, scope: HTTPScope, fields: Mapping[bytes, bytes]) -> Sequence[Header]:
        """The CORS headers of the response.

        Raises :class:`ApiError` for a host that is not allowed, and for an unsafe method from a foreign origin.
        """
        method = scope["method"]
        self.check_host(scope["http_version"], fields)
        if not self.cors:
            return ()
        origin = fields.get(b"origin")
        if origin is None:
            # A browser that omits Origin still sends Sec-Fetch-Site.
            if method not in SAFE_METHODS and fields.get(b"sec-fetch-site", b"none") not in SAME_SITE:
                raise request_problems.origin_not_allowed("(not sent)")
            return VARY_ONLY
        if not self._origin_allowed(origin) and not self._is_own(origin, scope, fields):
            if method not in SAFE_METHODS:
                raise request_problems.origin_not_allowed(origin.decode("latin-1"))
            return VARY_ONLY
        allowed = [VARY, (b"access-control-allow-origin", origin), EXPOSED]
        if method == "OPTIONS":
            allowed += PREFLIGHT
            if b"access-control-request-private-network" in fields:
                allowed.append(PRIVATE_NETWORK)
        return allowed

    def _is_own(self, origin: bytes, scope: HTTPScope, fields: Mapping[bytes, bytes]) -> bool:
        """Whether the page comes from this server, which only a checked host proves."""
        return self._checks_host and normalize_origin(origin.decode("latin-1")) in self._own_origins.of(
            scope, fields
        )


def _cached(decide: Callable[[str], bool]) -> Callable[[bytes], bool]:
    """Cache the decisions: clients send the same few values again and again."""

    @lru_cache(CACHE_SIZE)
    def cached(field: bytes) -> bool:
        return decide(field.decode("latin-1"))

    return cached
