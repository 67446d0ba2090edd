"""Classification of IP addresses and host names: public, loopback, local to the machine.

The tables follow the IANA special-purpose address registries (RFC 6890 and its updates) rather than
:attr:`ipaddress.IPv4Address.is_global`, whose answer depends on the version of Python:
https://www.iana.org/assignments/iana-ipv4-special-registry, https://www.iana.org/assignments/iana-ipv6-special-registry.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

LOOPBACK_NAME = "localhost"
_LOOPBACK_IPV6 = IPv6Address("::1")

_NOT_PUBLIC_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network (RFC 791)
            "10.0.0.0/8",  # private use (RFC 1918)
            "100.64.0.0/10",  # shared address space of carriers (RFC 6598)
            "127.0.0.0/8",  # loopback (RFC 1122)
            "168.63.129.16/32",  # the platform of Azure, as seen from its machines; not in the registries
            "169.254.0.0/16",  # link-local, metadata services of clouds (RFC 3927)
            "172.16.0.0/12",  # private use (RFC 1918)
            "192.0.0.0/24",  # IETF protocol assignments (RFC 6890)
            "192.0.2.0/24",  # documentation (RFC 5737)
            "192.88.99.0/24",  # deprecated anycast of 6to4 and 6a44 relays (RFC 7526, RFC 6751)
            "192.168.0.0/16",  # private use (RFC 1918)
            "198.18.0.0/15",  # benchmarking (RFC 2544)
            "198.51.100.0/24",  # documentation (RFC 5737)
            "203.0.113.0/24",  # documentation (RFC 5737)
            "224.0.0.0/4",  # multicast (RFC 5771)
            "240.0.0.0/4",  # reserved (RFC 1112), limited broadcast (RFC 8190)
        ),
    )
)
_PUBLIC_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "192.0.0.9/32",  # Port Control Protocol anycast (RFC 7723)
            "192.0.0.10/32",  # TURN anycast (RFC 8155)
        ),
    )
)
"""Exceptions within the blocks that are not public."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that IANA allocates from (RFC 4291): outside of it are loopback, unique local, link-local, site-local, multicast,
discard-only (100::/64), local-use translation (64:ff9b:1::/48), SRv6 identifiers (5f00::/16) and reserved blocks."""
_NOT_PUBLIC_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF protocol assignments (RFC 2928); Teredo is judged by its IPv4 addresses
            "2001:db8::/32",  # documentation (RFC 3849)
            "3fff::/20",  # documentation (RFC 9637)
        ),
    )
)
_PUBLIC_IPV6 = tuple(
    map(
        IPv6Network,
        (
            "2001:1::1/128",  # Port Control Protocol anycast (RFC 7723)
            "2001:1::2/128",  # TURN anycast (RFC 8155)
            "2001:1::3/128",  # DNS-SD service registration anycast (RFC 9665)
            "2001:3::/32",  # AMT (RFC 7450)
            "2001:4:112::/48",  # AS112 (RFC 7535)
            "2001:20::/28",  # ORCHIDv2 (RFC 7343)
            "2001:30::/28",  # drone remote identification (RFC 9374)
        ),
    )
)
"""Exceptions within the blocks that are not public."""

_MACHINE_LOCAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host (RFC 1122); Linux connects to itself
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, metadata of most clouds
            "100.100.100.200/32",  # metadata of Alibaba Cloud
            "168.63.129.16/32",  # platform of Azure
            "192.0.0.192/32",  # metadata of Oracle Cloud's first generation
            "224.0.0.0/4",  # multicast
            "255.255.255.255/32",  # limited broadcast
            "::/96",  # unspecified, to which Linux connects itself, loopback, and deprecated forms of IPv4 addresses
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # metadata, pod identity and other services of AWS
            "fd20:ce::254/128",  # metadata of Google Cloud
            "ff00::/8",  # multicast
        ),
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix of translators (RFC 6052); the last 32 bits are an IPv4 address."""


def is_public(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether packets to the address go to a single host of the public internet.

    An IPv6 address with an embedded IPv4 address (IPv4-mapped, NAT64, 6to4, Teredo) is as public as the latter. A zone
    (``fe80::1%eth0``) is ignored. Network-specific NAT64 prefixes (RFC 6052, 2.2) cannot be recognized.

    Raises:
        ValueError: the text is not an IP address.
    """
    if isinstance(address, str):
        address = ip_address(address.partition("%")[0])
    if isinstance(address, IPv4Address):
        return _in(address, _PUBLIC_IPV4) or not _in(address, _NOT_PUBLIC_IPV4)
    if embedded := _embedded_ipv4(address):
        return all(map(is_public, embedded))
    if address not in _GLOBAL_UNICAST:
        return False
    return _in(address, _PUBLIC_IPV6) or not _in(address, _NOT_PUBLIC_IPV6)


def is_machine_local(address: str | IPv4Address | IPv6Address) -> bool:
    """Whether the address belongs to this machine, its link, or a service of a cloud for its machines (metadata).

    An IPv6 address with an embedded IPv4 address is judged by the latter; a zone is ignored.

    Raises:
        ValueError: the text is not an IP address.
    """
    if isinstance(address, str):
        address = ip_address(address.partition("%")[0])
    if isinstance(address, IPv6Address) and (embedded := _embedded_ipv4(address)):
        return any(map(is_machine_local, embedded))
    return any(address in network for network in _MACHINE_LOCAL)


def is_address(host: str) -> bool:
    """Whether the host, without brackets, is an IP address rather than a name."""
    return _parsed(host) is not None


def is_loopback(host: str) -> bool:
    """Whether a host (without a port, IPv6 with or without brackets) means this computer without asking a name server.

    ``localhost`` and all names below it do (RFC 6761); IPv4-mapped addresses, which no browser or client uses, do not.
    """
    name = host.lower().strip("[]").removesuffix(".")
    if name == LOOPBACK_NAME or name.endswith("." + LOOPBACK_NAME):
        return True
    address = _parsed(name)
    if isinstance(address, IPv6Address):
        return address == _LOOPBACK_IPV6
    return address is not None and address.is_loopback


def _parsed(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.teredo is not None:
        return address.teredo  # the server and the client
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    embedded = address.ipv4_mapped or address.sixtofour
    return () if embedded is None else (embedded,)


def _in(
    address: IPv4Address | IPv6Address, networks: tuple[IPv4Network, ...] | tuple[IPv6Network, ...]
) -> bool:
    return any(address in network for network in networks)
