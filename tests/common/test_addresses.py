"""Public and loopback addresses, on both sides of every block of the IANA special-purpose registries."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_network

import pytest

from evalhub_common.addresses import is_address, is_loopback, is_machine_local, is_public

# Block, whether it is public, and whether the address below and the address above it are; None: there is none.
BLOCKS = [
    ("0.0.0.0/8", False, None, True),
    ("10.0.0.0/8", False, True, True),
    ("100.64.0.0/10", False, True, True),
    ("127.0.0.0/8", False, True, True),
    ("168.63.129.16/32", False, True, True),
    ("169.254.0.0/16", False, True, True),
    ("172.16.0.0/12", False, True, True),
    ("192.0.0.0/24", False, True, True),
    ("192.0.0.0/29", False, True, False),
    ("192.0.0.8/32", False, False, True),
    ("192.0.0.9/32", True, False, True),
    ("192.0.0.10/32", True, True, False),
    ("192.0.0.170/31", False, False, False),
    ("192.0.2.0/24", False, True, True),
    ("192.31.196.0/24", True, True, True),
    ("192.52.193.0/24", True, True, True),
    ("192.88.99.0/24", False, True, True),
    ("192.168.0.0/16", False, True, True),
    ("192.175.48.0/24", True, True, True),
    ("198.18.0.0/15", False, True, True),
    ("198.51.100.0/24", False, True, True),
    ("203.0.113.0/24", False, True, True),
    ("224.0.0.0/4", False, True, False),
    ("240.0.0.0/4", False, False, None),
    ("255.255.255.255/32", False, False, None),
    ("::/128", False, None, False),
    ("::1/128", False, False, False),
    ("::/96", False, None, False),
    ("64:ff9b:1::/48", False, False, False),
    ("100::/64", False, False, False),
    ("100:0:0:1::/64", False, False, False),
    ("2000::/16", True, False, False),
    ("2001:1::/128", False, False, True),
    ("2001:1::1/128", True, False, True),
    ("2001:1::2/128", True, True, True),
    ("2001:1::3/128", True, True, False),
    ("2001:2::/48", False, False, False),
    ("2001:3::/32", True, False, False),
    ("2001:4:112::/48", True, False, False),
    ("2001:10::/28", False, False, True),
    ("2001:20::/28", True, False, True),
    ("2001:30::/28", True, True, False),
    ("2001:1c0::/26", False, False, True),
    ("2001:db8::/32", False, True, True),
    ("2620:4f:8000::/48", True, True, True),
    ("3fff::/20", False, True, True),
    ("4000::/3", False, True, False),
    ("5f00::/16", False, False, False),
    ("fc00::/7", False, False, False),
    ("fe80::/10", False, False, False),
    ("fec0::/10", False, False, False),
    ("ff00::/8", False, False, None),
]


@pytest.mark.parametrize(("block", "public", "below", "above"), BLOCKS)
def test_both_sides_of_every_special_block(block: str, public: bool, below: bool | None, above: bool | None):
    network = ip_network(block)
    first, last = network[0], network[-1]
    assert (is_public(first), is_public(last)) == (public, public)
    assert is_public(str(first)) is public
    for expected, neighbour in ((below, int(first) - 1), (above, int(last) + 1)):
        if expected is not None:
            assert is_public(type(first)(neighbour)) is expected


def in_ipv4_mapped(address: IPv4Address) -> IPv6Address:
    return IPv6Address(f"::ffff:{address}")


def in_nat64(address: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address("64:ff9b::")) + int(address))


def in_6to4(address: IPv4Address) -> IPv6Address:
    return IPv6Address(int(IPv6Address("2002::1")) + (int(address) << 80))


def as_teredo_server(address: IPv4Address) -> IPv6Address:
    client = int(IPv4Address("8.8.8.8")) ^ 0xFFFFFFFF
    return IPv6Address(int(IPv6Address("2001::")) + (int(address) << 64) + client)


def as_teredo_client(address: IPv4Address) -> IPv6Address:
    server = int(IPv4Address("8.8.8.8"))
    return IPv6Address(int(IPv6Address("2001::")) + (server << 64) + (int(address) ^ 0xFFFFFFFF))


@pytest.mark.parametrize(
    "embed", [in_ipv4_mapped, in_nat64, in_6to4, as_teredo_server, as_teredo_client], ids=lambda f: f.__name__
)
def test_an_ipv6_address_is_as_public_as_the_ipv4_address_in_it(
    embed: Callable[[IPv4Address], IPv6Address],
):
    for block, public, _, _ in BLOCKS:
        network = ip_network(block)
        if isinstance(network, IPv4Network):
            assert is_public(embed(network[0])) is public, block
            assert is_public(embed(network[-1])) is public, block


@pytest.mark.parametrize(
    "address",
    [
        "::a9fe:a9fe",  # IPv4-compatible, deprecated
        "::ffff:0:8.8.8.8",  # IPv4-translated
        "64:ff9b:0:1::808:808",  # beside the well-known prefix
        "fe80::1%eth0",
        "127.9.9.9",
        "169.254.169.254",
        "239.1.1.1",
        "fd12:3456::1",
        "2002:a9fe:a9fe::1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_further_addresses_that_are_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "140.82.121.3",
        "2606:4700::1111",
        "2606:50c0:8000::153",
        "::ffff:8.8.8.8",
        "::ffff:140.82.121.3",
        "64:ff9b::808:808",
    ],
)
def test_addresses_of_the_internet(address: str):
    assert is_public(address)


@pytest.mark.parametrize("text", ["", "localhost", "2130706433", "0x7f.1", "8.8.8", "8.8.8.8:53"])
def test_text_that_is_not_an_address_is_refused(text: str):
    assert not is_address(text)
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public(text)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "[::1]",
    ],
)
def test_hosts_that_mean_this_computer(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "localhost.example.org", "notlocalhost", "0.0.0.0", "::", "10.0.0.1", "::2", "::ffff:127.0.0.1"],
)
def test_hosts_that_may_be_another_computer(host: str):
    assert not is_loopback(host)


MACHINE_LOCAL = [
    "0.0.0.0",
    "127.0.0.1",
    "127.255.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "fd20:ce::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
]


@pytest.mark.parametrize("address", MACHINE_LOCAL)
def test_addresses_of_the_machine_its_link_and_metadata_services(address: str):
    assert is_machine_local(address)
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.17.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "8.8.8.8",
        "fd00::1",
        "2606:4700::1111",
        "::ffff:10.0.0.1",
    ],
)
def test_private_and_public_addresses_of_other_machines(address: str):
    assert not is_machine_local(address)
