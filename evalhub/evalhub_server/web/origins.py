"""Which ``Host`` and which ``Origin`` may talk to the server. Pure decisions over the text of the two headers.

A web page on the internet can make its visitor's browser send requests to a server on the visitor's own computer. The
browser then says in ``Origin`` whose page it is. With DNS rebinding (a name of the attacker's that suddenly means
127.0.0.1) it says that the page and the server are the same, and only ``Host`` still shows the attacker's name.
"""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_server.settings.hosts import (
    DEFAULT_PORTS,
    allowed_host,
    allowed_origin,
    host_of,
    is_address,
    is_loopback,
    normal_origin,
)

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
        text = normal_origin(origin)
        if text is None:
            return False
        if text in self._configured:
            return True
        if not self._loopback:
            return False
        scheme, _, authority = text.partition("://")
        host = host_of(authority) if scheme in DEFAULT_PORTS else None
        return host is not None and is_loopback(host)
