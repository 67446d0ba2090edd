"""Which ``Host`` and which ``Origin`` may talk to the server. Pure decisions over the text of the two headers.

A web page on the internet can make its visitor's browser send requests to a server on the visitor's own computer. The
browser then says in ``Origin`` whose page it is. With DNS rebinding (a name of the attacker's that suddenly means
127.0.0.1) it says that the page and the server are the same, and only ``Host`` still shows the attacker's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from evalhub_common.addresses import is_address, is_loopback
from evalhub_common.urls import host_of, normalize_origin, origin_host
from evalhub_server.domain import problems
from evalhub_server.settings import Settings
from evalhub_server.settings.hosts import allowed_host, allowed_origin
from evalhub_server.web.responses import Header

WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared, not bound


class HostRule:
    """Loopback, the address that the server is bound to and what the configuration names, with any port.

    A server that is bound to every address is also reached by any address: what the attacker's page was loaded from
    is a name, so an address in ``Host`` cannot come from DNS rebinding. Raises :class:`SettingsError` for an entry
    that is not a host.
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
    """The origins that the configuration names and, with ``loopback``, pages of this computer, over HTTP or HTTPS, from
    any port.

    ``null``, the origin of sandboxed frames, local files and redirected requests, is foreign. Raises
    :class:`SettingsError` for an entry that is not an origin.
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
OWN_SITES = frozenset({b"same-origin", b"none"})
REMEMBERED = 256

VARY: Header = (b"vary", b"Origin")
VARY_ALONE = (VARY,)
EXPOSED: Header = (b"access-control-expose-headers", b"X-Global-Transaction-Id")
PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Content-Type, Authorization, X-Global-Transaction-Id, X-Tenant, X-User",
    ),
    (b"access-control-max-age", b"3600"),
)
PRIVATE_NETWORK: Header = (b"access-control-allow-private-network", b"true")


class OriginPolicy:
    """Local mode checks both headers and answers CORS; otherwise each is checked if the configuration names some.

    ``cors``: are browsers answered, preflights included?
    """

    def __init__(self, settings: Settings) -> None:
        service = settings.service
        self.cors = settings.local or bool(service.allowed_origins)
        self._checks_host = settings.local or bool(service.allowed_hosts)
        hosts = HostRule(settings.host, service.allowed_hosts)
        # Pages of "this computer" are those of whoever looks at them: in a cluster they are nobody's in particular.
        origins = OriginRule(service.allowed_origins, loopback=settings.local)
        self._host_allowed = _remembering(hosts.allows)
        self._origin_allowed = _remembering(origins.allows)

    def cors_headers(
        self, method: str, scheme: str, http_version: str, fields: Mapping[bytes, bytes]
    ) -> Sequence[Header]:
        """Return the CORS headers for the answer.

        Raises :class:`ApiError` for a host that is not ours and for a change that another's page asks for; nothing
        has happened then.
        """
        host = fields.get(b"host")
        if host is None:
            # No browser speaks HTTP/1.0, so a request that lacks the name cannot come from a web page.
            if http_version != "1.0":
                raise problems.invalid_header("Host", "is missing")
        elif self._checks_host and not self._host_allowed(host):
            raise problems.host_not_allowed(host.decode("latin-1"))
        if not self.cors:
            return ()
        origin = fields.get(b"origin")
        if origin is None:
            # A browser that does not say who asks still says how near they are.
            if method not in SAFE_METHODS and fields.get(b"sec-fetch-site", b"none") not in OWN_SITES:
                raise problems.origin_not_allowed("(not sent)")
            return VARY_ALONE
        if not self._origin_allowed(origin) and not self._same(origin, scheme, host):
            if method not in SAFE_METHODS:
                raise problems.origin_not_allowed(origin.decode("latin-1"))
            return VARY_ALONE
        allowed = [VARY, (b"access-control-allow-origin", origin), EXPOSED]
        if method == "OPTIONS":
            allowed += PREFLIGHT
            if b"access-control-request-private-network" in fields:
                allowed.append(PRIVATE_NETWORK)
        return allowed

    def _same(self, origin: bytes, scheme: str, host: bytes | None) -> bool:
        """Is it a page of this server's own? Only a checked host proves that."""
        return (
            self._checks_host
            and host is not None
            and origin.lower() == scheme.encode() + b"://" + host.strip(b" \t").lower()
        )


def _remembering(decide: Callable[[str], bool]) -> Callable[[bytes], bool]:
    """Clients repeat themselves: the same few values, millions of times."""

    @lru_cache(REMEMBERED)
    def decided(field: bytes) -> bool:
        return decide(field.decode("latin-1"))

    return decided
