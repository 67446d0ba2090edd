"""Addresses that exports of tenants may connect to: public ones, and private ones that the operator allows.

A tenant chooses the registry, and the server reaches hosts that the tenant must not reach. Names are resolved here, all
their addresses are checked, and connections are made to the checked addresses only, so DNS rebinding has no effect.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from evalhub_server.plugins import is_address, is_machine_local, is_public


class AddressRefused(OSError):
    """A registry or its token server has an address that exports may not connect to."""


class AddressPolicy:
    """``allowed`` are hosts, as ``host`` or ``host:port``, and networks, as in ``oci.allowed_registries``."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._hosts: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for entry in allowed:
            if (network := parsed_network(entry)) is not None:
                self._networks.append(network)
            else:
                self._hosts.add(entry.strip().lower())

    def check(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Raises :class:`AddressRefused` unless connections to all ``addresses`` of ``host`` are allowed."""
        name = host.lower().strip("[]").removesuffix(".")
        bracketed = f"[{name}]" if ":" in name else name
        by_name = not self._hosts.isdisjoint((name, bracketed, f"{bracketed}:{port}"))
        for text in addresses:
            if is_machine_local(text):
                raise AddressRefused(
                    f"{host} has the address {text}, which is of the server itself, link-local or a metadata service"
                )
            if is_public(text) or by_name:
                continue
            address = ip_address(text.partition("%")[0])
            if not any(address in network for network in self._networks):
                raise AddressRefused(
                    f"{host} has the address {text}, which is not public; to allow it, add the host or its network to "
                    "oci.allowed_registries"
                )

    def check_literal(self, host: str, port: int) -> None:
        """Check a host that is an address itself, which no resolver sees. Raises :class:`AddressRefused`."""
        if is_address(host.partition("%")[0]):
            self.check(host, port, [host])


class CheckedResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that the policy does not allow."""

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self._resolver.resolve(host, port, family)
        self._policy.check(host, port, [result["host"] for result in results])
        return results

    async def close(self) -> None:
        await self._resolver.close()


def parsed_network(entry: str) -> IPv4Network | IPv6Network | None:
    """The network, or the network of one address; None for a host. Raises ValueError for text that is neither."""
    text = entry.strip()
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        if "/" in text:
            raise
        return None
