"""Which hosts test data may come from: those of the internet, and none that only this cluster can reach.

A tenant chooses the address, and the pod's network reaches what the tenant's own does not: the cloud's metadata, the
API of the cluster, other tenants. So names are resolved here, every address is looked at, and what is connected to is
the address that was looked at.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection, Mapping

from evalhub_init.errors import InitError

ALLOWED_HOSTS = "TEST_DATA_ALLOWED_HOSTS"
"""Names or addresses, with a port or without, that may be private. For the operator of a cluster; no tenant sets it."""

_NAMES = frozenset(("localhost", "localhost.localdomain", "metadata", "metadata.google.internal"))
_SUFFIXES = (".cluster.local", ".svc", ".local", ".localhost", ".internal")


def allowed_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """From the environment; empty unless the operator says otherwise."""
    return frozenset(
        word.strip().lower() for word in environ.get(ALLOWED_HOSTS, "").split(",") if word.strip()
    )


async def public_addresses(
    host: str, port: int, allowed: Collection[str], *, proxied: bool = False
) -> list[str]:
    """Every address of the host. Raises :class:`InitError` if one of them, or the name, is not for everybody.

    ``proxied``: a proxy connects, which may know names that nobody does here; whom those lead to is then its to judge.
    """
    name = host.lower().rstrip(".")
    known = name in allowed or f"{name}:{port}" in allowed
    if not known and (name in _NAMES or name.endswith(_SUFFIXES) or ("." not in name and ":" not in name)):
        raise InitError(f"Test data may not come from '{host}': it is a name of this host or of the cluster.")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if proxied:
            return []
        raise InitError(f"The host '{host}' of the test data is not known: {error}.") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not known and not all(map(is_public, addresses)):
        raise InitError(f"Test data may not come from '{host}': it has an address that is not public.")
    return addresses


def is_public(address: str) -> bool:
    """Neither loopback, private, link-local, shared, multicast nor reserved; also not wrapped into IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or _nat64(ip)
        if inner is not None:
            ip = inner
    return ip.is_global and not ip.is_multicast


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    prefix = ipaddress.IPv6Network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in prefix else None
