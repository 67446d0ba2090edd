"""An address of this computer beside loopback."""

from __future__ import annotations

import socket

import pytest

from evalhub_server.plugins import is_machine_local, is_public


def private_address() -> str:
    """An address of this computer that is neither loopback nor public, as a registry in a cluster has; skips without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing; finds the route
        except OSError:
            pytest.skip("needs an address beside loopback")
        address = probe.getsockname()[0]
    if is_public(address) or is_machine_local(address):
        pytest.skip("needs a private address")
    return address
