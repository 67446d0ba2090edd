"""The listening address."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

import pytest

from harness import Config, RunningServer


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return socket.has_dualstack_ipv6()
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this host has no IPv6")
@pytest.mark.parametrize("host", ["::", "[::]"])
def test_all_addresses_include_those_of_ipv4(tmp_path: Path, host: str):
    config = Config(tmp_path / "config")
    config.scripted("running", "completed")
    with RunningServer(config.folder, env={"API_HOST": host}) as server:
        connection = http.client.HTTPConnection("::1", server.port, timeout=30)
        connection.request("GET", "/api/v1/health")
        assert connection.getresponse().status == 200
        connection.close()
        job = server.finished(server.submit())  # over IPv4, and the adapter's callback goes to localhost
        assert job["status"]["state"] == "completed"
