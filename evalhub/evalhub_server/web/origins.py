"""Which ``Host`` and which ``Origin`` may talk to the server. Pure decisions over the text of the two headers.

A web page on the internet can make its visitor's browser send requests to a server on the visitor's own computer. The
browser then says in ``Origin`` whose page it is. With DNS rebinding (a name of the attacker's that suddenly means
127.0.0.1) it says that the page and the server are the same, and only ``Host`` still shows the attacker's name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from evalhub_server.errors import SettingsError

LOOPBACK_NAME = "localhost"
WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  compared, not bound
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\%]+))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*]+)")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")


def host_of(authority: str) -> str | None:
    """The name or address in ``host[:port]``: lower case, no brackets, no final dot; None for anything else."""
    match = _AUTHORITY.fullmatch(authority.strip(" \t").lower())
    if match is None:
        return None
    address, name, _port = match.groups()
    return address or name.removesuffix(".")


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Does it mean this computer, whatever a name server says? ``localhost`` and all below it do (RFC 6761)."""
    if host == LOOPBACK_NAME or host.endswith("." + LOOPBACK_NAME):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class HostRule:
    """Loopback, the address that the server is bound to and what the configuration names, with any port.

    A server that is bound to every address is also reached by any address: what the attacker's page was loaded from
    is a name, so an address in ``Host`` cannot come from DNS rebinding. Raises :class:`SettingsError` for an entry
    that is not a host.
    """

    def __init__(self, bound: str, configured: Iterable[str] = ()) -> None:
        bound = bound.strip("[]").lower()
        self._any_address = bound in WILDCARDS
        self._names = {bound, *(_configured_host(entry) for entry in configured)} - WILDCARDS

    def allows(self, authority: str) -> bool:
        host = host_of(authority)
        if host is None:
            return False
        return host in self._names or is_loopback(host) or (self._any_address and is_address(host))


class OriginRule:
    """Pages of this computer, over HTTP or HTTPS, from any port, and the origins that the configuration names.

    ``null``, the origin of sandboxed frames, local files and redirected requests, is foreign. Raises
    :class:`SettingsError` for an entry that is not an origin.
    """

    def __init__(self, configured: Iterable[str] = ()) -> None:
        self._configured = {_configured_origin(entry) for entry in configured}

    def allows(self, origin: str) -> bool:
        text = _normal_origin(origin)
        if text is None:
            return False
        if text in self._configured:
            return True
        scheme, _, authority = text.partition("://")
        host = host_of(authority) if scheme in DEFAULT_PORTS else None
        return host is not None and is_loopback(host)


def _normal_origin(text: str) -> str | None:
    match = _ORIGIN.fullmatch(text.strip(" \t").lower())
    if match is None:
        return None
    scheme, authority = match.groups()
    return f"{scheme}://{authority.removesuffix(DEFAULT_PORTS.get(scheme, '/'))}"


def _configured_host(entry: str) -> str:
    host = entry.strip().lower().strip("[]").removesuffix(".")
    if not is_address(host) and not _HOST_NAME.fullmatch(host):
        raise SettingsError(
            f"service.allowed_hosts: {entry!r} is not a host name or an address; write it without scheme, port and "
            "wildcards, such as evalhub.example.org"
        )
    return host


def _configured_origin(entry: str) -> str:
    origin = _normal_origin(entry.strip().removesuffix("/"))
    if origin is None:
        raise SettingsError(
            f"service.allowed_origins: {entry!r} is not an origin; write scheme, host and port without a path, such "
            "as https://ui.example.org. There is no wildcard."
        )
    return origin
