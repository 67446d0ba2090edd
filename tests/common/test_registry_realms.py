"""Token realms that get a registry's credentials."""

from __future__ import annotations

import pytest

from evalhub_common.registry_realms import DOCKER_HUB_REALMS, is_trusted_realm


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("registry.example.com", "registry.example.com"),
        ("Registry.Example.com.", "registry.example.COM"),
        ("registry.example.com", "auth.example.com"),
        ("registry.example.com", "example.com"),
        ("registry.gitlab.com", "gitlab.com"),
        ("registry-1.docker.io", "auth.docker.io"),
        ("docker.io", "auth.docker.io"),
        ("mirror.test", "auth.docker.io"),  # a pull-through cache of Docker Hub
        ("a.company.co.uk", "b.company.co.uk"),
        ("acme.azurecr.io", "acme.azurecr.io"),
        ("10.0.0.1", "10.0.0.1"),
        ("[fd00::1]", "fd00::1"),
        ("localhost", "127.0.0.1"),
        ("registry", "registry"),
        ("registry.ns.svc.cluster.local", "registry.ns.svc.cluster.local"),
    ],
)
def test_a_trusted_realm(registry: str, realm: str):
    assert is_trusted_realm(realm, registry, DOCKER_HUB_REALMS)


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("registry.example.com", "example.org"),
        ("registry.example.com", "registry.example.com.evil.test"),
        ("registry.example.com", "evilexample.com"),
        ("company.co.uk", "evil.co.uk"),
        ("company.com.au", "evil.com.au"),
        ("me.github.io", "you.github.io"),
        ("acme.azurecr.io", "evil.azurecr.io"),
        ("a.s3.eu-west-1.amazonaws.com", "b.s3.eu-west-1.amazonaws.com"),
        ("registry.test", "auth.docker.io.evil.test"),
        ("10.0.0.1", "10.0.0.2"),
        ("10.0.0.1", "0.0.1"),
        ("registry", "tokens"),
        ("com", "example.com"),
        ("registry.ns.svc.cluster.local", "tokens.other.svc.cluster.local"),
        ("registry.ns.svc", "tokens.other.svc"),
        ("registry.example.com", "localhost"),
        ("registry.example.com", "169.254.169.254"),
        ("registry.example.com", ""),
    ],
)
def test_a_realm_of_another_owner(registry: str, realm: str):
    assert not is_trusted_realm(realm, registry, DOCKER_HUB_REALMS)


def test_the_operator_trusts_further_realms_instead_of_docker_hubs():
    assert is_trusted_realm("sso.example.org", "registry.example.com", ["SSO.example.org"])
    assert not is_trusted_realm("auth.docker.io", "registry.example.com", ["sso.example.org"])
