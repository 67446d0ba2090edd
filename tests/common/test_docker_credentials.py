"""Credentials in a docker configuration."""

from __future__ import annotations

import base64
import json

import pytest

from evalhub_common.docker_credentials import (
    NO_CREDENTIALS,
    DockerConfig,
    DockerConfigError,
    RegistryCredentials,
    canonical_host,
    credential_helper_key,
    registry_api_host,
)


def config(**content: object) -> DockerConfig:
    return DockerConfig.parse(json.dumps(content).encode())


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Registry.Example", "registry.example"),
        ("https://registry.example/v2/team", "registry.example"),
        ("registry.test:5000/a", "registry.test:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_hosts_are_compared_without_scheme_and_path_and_docker_hub_has_one_name(text: str, host: str):
    assert canonical_host(text) == host


def test_docker_hub_has_an_api_host_and_a_helper_key():
    assert registry_api_host("docker.io") == "registry-1.docker.io"
    assert registry_api_host("a.example:5000") == "a.example:5000"
    assert credential_helper_key("index.docker.io") == "https://index.docker.io/v1/"
    assert credential_helper_key("a.example:5000") == "a.example:5000"


def test_all_forms_of_an_entry():
    docker = config(
        auths={
            "a.example": auth("u", "p:w\0\0"),
            "b.example": {"username": "u", "password": "p"},
            "c.example": {"auth": "", "identitytoken": "refresh"},
            "d.example": {"registrytoken": "ready"},
            "e.example": {},
            "f.example": None,
        }
    )
    assert docker.credentials("a.example", "r") == RegistryCredentials(username="u", password="p:w")
    assert docker.credentials("https://b.example/", "r").basic == "Basic dTpw"
    assert docker.credentials("c.example", "r") == RegistryCredentials(identity_token="refresh")
    assert docker.credentials("d.example", "r") == RegistryCredentials(registry_token="ready")
    for host in ("e.example", "f.example", "g.example"):
        assert docker.credentials(host, "r") == NO_CREDENTIALS
    assert NO_CREDENTIALS.basic == ""


def test_the_most_specific_entry_is_used():
    docker = config(
        auths={
            "a.example/other": auth("other", "x"),
            "a.example": auth("host", "x"),
            "a.example/team": auth("team", "x"),
            "a.example/team/app": auth("app", "x"),
        }
    )
    users = [docker.credentials("a.example", name).username for name in ("team/app", "team/b", "x", "teams")]
    assert users == ["app", "team", "host", "host"]


def test_credential_helpers():
    docker = config(credsStore="desktop", credHelpers={"https://a.example": "ecr-login"})
    assert docker.helper("a.example") == "ecr-login"
    assert docker.helper("b.example") == "desktop"
    assert config().helper("a.example") == ""


@pytest.mark.parametrize(
    "document", [b"", b"[]", b'{"auths": []}', b'{"auths": {"a": 1}}', b"\xff", b"[" * 99999]
)
def test_a_document_that_is_not_a_docker_configuration(document: bytes):
    with pytest.raises(DockerConfigError, match=r"^not a docker configuration$"):
        DockerConfig.parse(document)


def test_an_entry_that_is_not_base64_is_refused_without_its_content():
    for bad in ("s3cret!", base64.b64encode(b"\xff\xfe").decode()):
        with pytest.raises(
            DockerConfigError, match=r"^the auth entry for a\.example is not base64; log in again$"
        ):
            config(auths={"a.example": {"auth": bad}}).credentials("a.example", "r")


def test_no_representation_shows_a_secret():
    docker = config(auths={"a.example": auth("u", "s3cret")})
    shown = (
        repr(docker)
        + repr(docker.credentials("a.example", "r"))
        + repr(RegistryCredentials(registry_token="s3cret"))
    )
    assert "s3cret" not in shown
    assert auth("u", "s3cret")["auth"] not in shown
