"""Registry credentials in a docker configuration: ``config.json``, or a Secret of type dockerconfigjson."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from evalhub_common.http_auth import basic_auth

DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""The key of ``docker login``."""
_DOCKER_HUB_NAMES = frozenset({DOCKER_HUB, "index.docker.io", DOCKER_HUB_API, "registry.hub.docker.com"})


class DockerConfigError(ValueError):
    """The docker configuration cannot be used; the text has no part of its content but host names."""


@dataclass(frozen=True, kw_only=True)
class RegistryCredentials:
    """User and password, or a refresh token (``identity_token``), or a ready ``registry_token``, or nothing."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header; empty without user and password."""
        return basic_auth(self.username, self.password) if self.username or self.password else ""


NO_CREDENTIALS = RegistryCredentials()


@dataclass(frozen=True, kw_only=True)
class DockerConfig:
    """The parts of a docker configuration that concern registries.

    ``auths`` has entries by host, or host and path; an entry is empty where a credential helper keeps the secret.
    ``helpers`` has names of credential helpers by host, ``default_helper`` that of all other hosts.
    """

    auths: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]], repr=False)
    helpers: Mapping[str, str] = field(default_factory=dict[str, str])
    default_helper: str = ""

    @classmethod
    def parse(cls, document: bytes) -> DockerConfig:
        """Read a document.

        Raises:
            DockerConfigError: it is not a docker configuration.
        """
        try:
            content = _object(json.loads(document))
            return cls(
                auths={host: _texts(entry) for host, entry in _object(content.get("auths")).items()},
                helpers=_texts(content.get("credHelpers")),
                default_helper=_text(content.get("credsStore")),
            )
        except (ValueError, TypeError, RecursionError):
            raise DockerConfigError("not a docker configuration") from None

    def helper(self, host: str) -> str:
        """The name of the credential helper for a registry; empty if there is none."""
        names = (name for key, name in self.helpers.items() if canonical_host(key) == canonical_host(host))
        return next(names, self.default_helper)

    def credentials(self, host: str, repository: str) -> RegistryCredentials:
        """The credentials that ``auths`` has for a repository; :data:`NO_CREDENTIALS` if none.

        Raises:
            DockerConfigError: the matching entry is not base64.
        """
        return next((_credentials(entry, host) for entry in self._entries(host, repository)), NO_CREDENTIALS)

    def _entries(self, host: str, repository: str) -> Iterator[Mapping[str, str]]:
        """Entries for the host, best first: with a path above the repository, as the kubelet and podman match them,
        the longest first; then without a path; then any other."""

        def order(key: str) -> int:
            path = key.lower().rpartition("://")[2].partition("/")[2].strip("/")
            if path in ("", "v1", "v2"):
                return 0
            return -len(path) if f"{repository}/".startswith(f"{path}/") else 1

        wanted = canonical_host(host)
        keys = [key for key, entry in self.auths.items() if canonical_host(key) == wanted and _usable(entry)]
        return (self.auths[key] for key in sorted(keys, key=order))


def canonical_host(text: str) -> str:
    """A registry as configurations are searched for it: lower case, without scheme and path, one name for Docker Hub."""
    host = text.strip().lower().rpartition("://")[2].partition("/")[0]
    return DOCKER_HUB if host in _DOCKER_HUB_NAMES else host


def registry_api_host(host: str) -> str:
    """The host that serves the API of a registry: Docker Hub has one of its own."""
    return DOCKER_HUB_API if canonical_host(host) == DOCKER_HUB else host


def credential_helper_key(host: str) -> str:
    """The name under which credential helpers keep the secret of a registry."""
    return _DOCKER_HUB_KEY if canonical_host(host) == DOCKER_HUB else host


_FIELDS = ("username", "password", "auth", "identitytoken", "registrytoken")


def _usable(entry: Mapping[str, str]) -> bool:
    return any(entry.get(name) for name in _FIELDS)


def _credentials(entry: Mapping[str, str], host: str) -> RegistryCredentials:
    username, password = entry.get("username", ""), entry.get("password", "")
    if auth := entry.get("auth"):
        try:
            text = base64.b64decode("".join(auth.split()), validate=True).decode()
        except (binascii.Error, ValueError):
            raise DockerConfigError(f"the auth entry for {host} is not base64; log in again") from None
        # Docker pads passwords that it encrypted long ago with NUL, and still strips it.
        username, _, password = text.rstrip("\0").partition(":")
    return RegistryCredentials(
        username=username,
        password=password,
        identity_token=entry.get("identitytoken", ""),
        registry_token=entry.get("registrytoken", ""),
    )


def _object(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError
    return cast("dict[str, Any]", value)


def _text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> dict[str, str]:
    """The texts of an object; other values, such as docker's nested ones, are none of this module's concern."""
    return {name: item for name, item in _object(value).items() if isinstance(item, str)}
