"""Allowed hosts of test data: those of the public internet, and those that the operator allows.

A tenant chooses the address, and a pod reaches hosts that the tenant must not reach: metadata services, the cluster's
API, other tenants. So names are resolved here, all their addresses are checked, and connections are made to the checked
addresses only.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping

from evalhub_common.addresses import is_public
from evalhub_init.errors import InitError

ALLOWED_HOSTS = "TEST_DATA_ALLOWED_HOSTS"
"""Names or addresses, with or without a port, that need not be public. Set by the operator of a cluster."""

_NAMES = frozenset(("localhost", "localhost.localdomain", "metadata", "metadata.google.internal"))
_SUFFIXES = (".cluster.local", ".svc", ".local", ".localhost", ".internal")


def allowed_hosts(environ: Mapping[str, str]) -> frozenset[str]:
    """The entries of the environment variable."""
    return frozenset(
        entry.strip().lower() for entry in environ.get(ALLOWED_HOSTS, "").split(",") if entry.strip()
    )


async def public_addresses(
    host: str, port: int, allowed: Collection[str], *, proxied: bool = False
) -> list[str]:
    """The addresses of a host. Raises :class:`InitError` if the name is internal or an address is not public.

    ``proxied``: a proxy connects, which may know names that cannot be resolved here; such names have no addresses.
    """
    name = host.lower().rstrip(".")
    is_allowed = name in allowed or f"{name}:{port}" in allowed
    if not is_allowed and (
        name in _NAMES or name.endswith(_SUFFIXES) or ("." not in name and ":" not in name)
    ):
        raise InitError(f"Test data may not come from '{host}': it is a name of this host or of the cluster.")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if proxied:
            return []
        raise InitError(f"The host '{host}' of the test data cannot be resolved: {error}.") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    if not is_allowed and not all(map(is_public, addresses)):
        raise InitError(f"Test data may not come from '{host}': it has an address that is not public.")
    return addresses
