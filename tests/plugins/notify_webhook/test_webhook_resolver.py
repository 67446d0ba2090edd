"""Name resolution of the webhook exporter: public addresses only."""

from __future__ import annotations

import pytest

from evalhub_notify_webhook.exporter import NotPublicError, PublicResolver


@pytest.mark.parametrize("name", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "::1"])
async def test_all_spellings_of_this_computer_are_refused(name: str):
    resolver = PublicResolver()
    try:
        with pytest.raises(NotPublicError, match=r"has the address .*, which is not public"):
            await resolver.resolve(name, 80)
    finally:
        await resolver.close()


async def test_a_public_address_is_resolved():
    resolver = PublicResolver()
    try:
        assert [found["host"] for found in await resolver.resolve("8.8.8.8", 443)] == ["8.8.8.8"]
    finally:
        await resolver.close()
