"""Name look-ups for messages that may only go to public addresses."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from evalhub_notify_webhook.addresses import is_public


class NotPublicError(OSError):
    """A name leads to an address that is not public."""


class PublicResolver(AbstractResolver):
    """Looks names up and refuses one that leads anywhere but to public addresses.

    The connection goes to the very addresses that were looked at, so a name that changes between two look-ups gains
    nothing.
    """

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            if not is_public(ip_address(result["host"].partition("%")[0])):
                raise NotPublicError(f"{host} has the address {result['host']}, which is not public")
        return found

    async def close(self) -> None:
        await self._resolver.close()
