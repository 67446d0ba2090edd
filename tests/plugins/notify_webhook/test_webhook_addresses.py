"""Which addresses messages may go to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from evalhub_notify_webhook.addresses import is_public
from evalhub_notify_webhook.resolver import NotPublicError, PublicResolver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12:3456::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)
def test_an_address_that_is_not_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_a_public_address(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "::1"])
async def test_a_name_or_an_odd_number_for_this_computer_is_not_looked_up_to_it(name: str):
    resolver = PublicResolver()
    try:
        with pytest.raises(NotPublicError, match=r"has the address .*, which is not public"):
            await resolver.resolve(name, 80)
    finally:
        await resolver.close()


async def test_a_public_address_is_looked_up_as_ever():
    resolver = PublicResolver()
    try:
        assert [found["host"] for found in await resolver.resolve("8.8.8.8", 443)] == ["8.8.8.8"]
    finally:
        await resolver.close()
