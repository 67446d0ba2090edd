"""Allowed hosts of test data."""

from __future__ import annotations

import subprocess
import sys

import pytest

from evalhub_init.addresses import public_addresses
from evalhub_init.errors import InitError
from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import Certificate


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LOCALHOST.",
        "x.localhost",
        "metadata.google.internal",
        "kubernetes",
        "kubernetes.default.svc",
        "git.team.svc.cluster.local",
        "printer.local",
    ],
)
async def test_names_of_the_host_and_of_the_cluster_are_refused(name: str):
    with pytest.raises(InitError, match="it is a name of this host or of the cluster"):
        await public_addresses(name, 443, ())


async def test_an_unknown_name_is_named():
    with pytest.raises(
        InitError, match=r"The host 'no-such-host\.invalid' of the test data cannot be resolved"
    ):
        await public_addresses("no-such-host.invalid", 443, ())


@pytest.mark.parametrize(("allowed", "port"), [("127.0.0.1", 1), ("127.0.0.1:2", 2)])
async def test_an_operator_may_allow_a_host_or_one_port_of_it(allowed: str, port: int):
    assert await public_addresses("127.0.0.1", port, {allowed}) == ["127.0.0.1"]


async def test_another_port_of_an_allowed_host_is_not_allowed():
    with pytest.raises(InitError, match="it has an address that is not public"):
        await public_addresses("127.0.0.1", 3, {"127.0.0.1:2"})


FIND = """
import asyncio, sys
from evalhub_init.safe_git_url import find_remote
remote = asyncio.run(find_remote(sys.argv[1], "", "", {"localhost"}))
print(remote.url, remote.authorization, remote.pinned)
"""


def test_credentials_are_sent_to_their_host_only(localhost: Certificate):
    service = "/info/refs?service=git-upload-pack"
    with AnsweringServer(tls=localhost) as other, AnsweringServer(tls=localhost) as first:

        def redirect(received: Request) -> Reply:
            to = {"/same": f"{first.url}/here", "/other": f"{other.url}/there"}.get(
                received.path.removesuffix(service)
            )
            return Reply(302, b"", {"Location": f"{to}{service}"}) if to else Reply()

        first.answer = redirect

        def found(path: str) -> list[str]:
            url = first.url.replace("://", "://me:pw@") + path
            env = {"SSL_CERT_FILE": str(localhost.crt)}
            command = [sys.executable, "-c", FIND, url]
            return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split(
                " "
            )

        assert found("/same") == [
            f"{first.url}/here",
            "Basic",
            "bWU6cHc=",
            f"localhost:{first.port}:127.0.0.1\n",
        ]
        assert found("/other") == [f"{other.url}/there", "", f"localhost:{other.port}:127.0.0.1\n"]
        assert [r.header("Authorization") for r in other.requests] == [[]]
