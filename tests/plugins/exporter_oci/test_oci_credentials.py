"""Registry credentials in docker configurations, credential helpers and secrets of tenants."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from evalhub_common.docker_credentials import NO_CREDENTIALS, DockerConfig, RegistryCredentials
from evalhub_exporter_oci.credentials import (
    config_file,
    helper_credentials,
    parse_config,
    stored_credentials,
    user_credentials,
)
from evalhub_exporter_oci.location import artifact_location
from evalhub_server.models.job import OciCoordinates
from evalhub_server.plugins import ExportRefused


def encoded(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def found(auths: dict[str, Any], host: str, repository: str = "team/results") -> RegistryCredentials:
    return stored_credentials(parse_config(json.dumps({"auths": auths}).encode(), "a file"), host, repository)


@pytest.mark.parametrize(
    ("entry", "credentials"),
    [
        (encoded("me:pass:word"), RegistryCredentials(username="me", password="pass:word")),
        (encoded("me:padded\0\0"), RegistryCredentials(username="me", password="padded")),
        ({"username": "me", "password": "word"}, RegistryCredentials(username="me", password="word")),
        (
            {**encoded("00000:"), "identitytoken": "refresh"},
            RegistryCredentials(username="00000", identity_token="refresh"),
        ),
        ({"registrytoken": "ready"}, RegistryCredentials(registry_token="ready")),
        ({}, NO_CREDENTIALS),
    ],
)
def test_all_forms_of_credentials_in_a_configuration(entry: dict[str, str], credentials: RegistryCredentials):
    assert found({"registry.example": entry}, "registry.example") == credentials


@pytest.mark.parametrize(
    "key", ["registry.test:5000", "https://Registry.Test:5000/v2/", "registry.test:5000/team"]
)
def test_all_spellings_of_a_host_are_found(key: str):
    assert found({"other.test": encoded("a:a"), key: encoded("b:b")}, "registry.test:5000").username == "b"


def test_another_host_or_port_has_no_credentials():
    assert found({"registry.test": encoded("a:a")}, "registry.test:5000") == NO_CREDENTIALS
    assert found({"registry.test": encoded("a:a")}, "egistry.test") == NO_CREDENTIALS


def test_docker_hub_is_found_by_the_name_that_docker_login_writes():
    assert found({"https://index.docker.io/v1/": encoded("a:a")}, "docker.io").username == "a"


def test_the_entry_that_is_nearest_to_the_repository_wins():
    auths = {
        "registry.example/teams": encoded("no-parent:x"),
        "registry.example": encoded("whole-host:x"),
        "registry.example/team": encoded("parent:x"),
        "registry.example/team/results": encoded("itself:x"),
    }
    assert found(auths, "registry.example", "team/results").username == "itself"
    assert found(auths, "registry.example", "team/other").username == "parent"
    assert found(auths, "registry.example", "lonely").username == "whole-host"
    assert found({"registry.example/teams": encoded("any:x")}, "registry.example", "lonely").username == "any"


@pytest.mark.parametrize("document", [b"", b"no json", b"[]", b'{"auths": {"a": "secret"}}', b"\xff"])
def test_an_invalid_configuration_is_refused_without_showing_it(document: bytes):
    with pytest.raises(
        ExportRefused, match=r"^a file is not a docker configuration; create one with docker login$"
    ):
        parse_config(document, "a file")


def test_an_auth_that_is_not_base64_is_refused_without_showing_it():
    with pytest.raises(ExportRefused, match=r"the auth entry for registry\.example is not base64") as refused:
        found({"registry.example": {"auth": "s3cret!"}}, "registry.example")
    assert "s3cret" not in str(refused.value)


def test_no_representation_has_the_secret():
    entry = dict.fromkeys(("username", "password", "auth", "identitytoken", "registrytoken"), "s3cret")
    credentials = RegistryCredentials(
        username="me", password="s3cret", identity_token="s3cret", registry_token="s3cret"
    )
    assert "s3cret" not in repr((DockerConfig(auths={"registry.example": entry}), credentials))


def test_the_configuration_is_the_settings_file_or_where_docker_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file("~/mine.json", {"DOCKER_CONFIG": "/elsewhere"}) == tmp_path / "mine.json"
    assert config_file("", {"DOCKER_CONFIG": "/elsewhere"}) == Path("/elsewhere/config.json")
    assert config_file("", {}) == tmp_path / ".docker" / "config.json"


PLACE = artifact_location(OciCoordinates(oci_host="registry.example", oci_repository="team/results"), "a-job")


def a_config(folder: Path, name: str, user: str) -> Path:
    file = folder / name
    file.write_text(json.dumps({"auths": {"registry.example": {"username": user, "password": "p"}}}), "utf-8")
    return file


async def test_a_login_takes_effect_at_once(tmp_path: Path):
    environ = {"DOCKER_CONFIG": str(tmp_path)}
    assert await user_credentials(PLACE, "", environ) == NO_CREDENTIALS
    for user in ("first", "second"):
        a_config(tmp_path, "config.json", user)
        assert (await user_credentials(PLACE, "", environ)).username == user


async def test_a_file_that_is_set_must_be_there(tmp_path: Path):
    a_config(tmp_path, "config.json", "nobody")
    own, environ = str(tmp_path / "own.json"), {"DOCKER_CONFIG": str(tmp_path)}
    with pytest.raises(FileNotFoundError):
        await user_credentials(PLACE, own, environ)
    a_config(tmp_path, "own.json", "me")
    assert (await user_credentials(PLACE, own, environ)).username == "me"


MakeHelper = Callable[[str], Callable[[str], Awaitable[RegistryCredentials]]]


@pytest.fixture
def a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHelper:
    """Creates a program ``docker-credential-test`` with a Python body; returns a function that runs it for a host."""

    def make(body: str) -> Callable[[str], Awaitable[RegistryCredentials]]:
        program = tmp_path / "docker-credential-test"
        program.write_text(f"#!{sys.executable} -SE\nimport json, sys, time\n{body}\n", "utf-8")
        program.chmod(0o700)
        monkeypatch.setenv("PATH", str(tmp_path))
        return lambda host: helper_credentials("test", host, limit_s=30)

    return make


ANSWERS = """
assert sys.argv[1:] == ["get"]
server = sys.stdin.read()
if server == "unknown.test": sys.exit("credentials not found in native keychain")
json.dump({"ServerURL": server, "Username": "<token>" if server == "token.test" else "me", "Secret": f"for {server}"}, sys.stdout)
"""


async def test_a_helper_is_run_as_docker_runs_it(a_helper: MakeHelper):
    ask = a_helper(ANSWERS)
    assert await ask("registry.test:5000") == RegistryCredentials(
        username="me", password="for registry.test:5000"
    )
    assert await ask("docker.io") == RegistryCredentials(
        username="me", password="for https://index.docker.io/v1/"
    )
    assert await ask("token.test") == RegistryCredentials(identity_token="for token.test")
    assert await ask("unknown.test") == NO_CREDENTIALS


async def test_a_helper_that_is_missing_or_prints_nonsense_is_refused(a_helper: MakeHelper):
    with pytest.raises(ExportRefused, match="docker-credential-test did not print JSON"):
        await a_helper("print('hello')")("registry.example")
    for name in ("gone", "../test", "test;ls"):
        with pytest.raises(ExportRefused, match="is not on the server's PATH"):
            await helper_credentials(name, "registry.example")


async def test_a_helper_that_does_not_exit_is_killed(a_helper: MakeHelper):
    a_helper("time.sleep(600)")
    with pytest.raises(TimeoutError, match=r"docker-credential-test did not exit within 0\.2 s"):
        await helper_credentials("test", "registry.example", limit_s=0.2)


async def test_the_file_is_used_if_the_helper_has_no_credentials(a_helper: MakeHelper, tmp_path: Path):
    a_helper("sys.exit('credentials not found in native keychain')")
    file = a_config(tmp_path, "config.json", "me")
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "credsStore": "test"}), "utf-8")
    assert (await user_credentials(PLACE, str(file), {})).username == "me"


def test_the_helper_of_a_host_takes_precedence_over_the_store():
    config = parse_config(
        b'{"credsStore": "store", "credHelpers": {"https://registry.example": "own"}}', "a file"
    )
    assert (config.helper("registry.example"), config.helper("ghcr.io")) == ("own", "store")
    assert DockerConfig().helper("registry.example") == ""
