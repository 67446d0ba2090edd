"""Credentials from a docker configuration: ``config.json``, or a Secret of type dockerconfigjson."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from evalhub_exporter_oci.location import canonical_host
from evalhub_server.plugins import ExportRefused


class Credentials(Struct, kw_only=True, frozen=True):
    """User and password, or a refresh token (``identity_token``), or a ready ``registry_token``, or nothing."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r})"

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header, or nothing."""
        if not self.username and not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credentials()


class Entry(Struct, frozen=True):
    """One value of ``auths``; Docker leaves it empty where a credential helper has the secret."""

    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def __repr__(self) -> str:
        return "Entry()"


class DockerConfig(Struct, frozen=True, rename="camel"):
    """What matters here of a docker configuration."""

    auths: dict[str, Entry] = field(default_factory=dict[str, Entry])
    creds_store: str = ""
    cred_helpers: dict[str, str] = field(default_factory=dict[str, str])

    def helper(self, host: str) -> str:
        """The credential helper that knows the host's secret, or nothing."""
        named = (
            name for key, name in self.cred_helpers.items() if canonical_host(key) == canonical_host(host)
        )
        return next(named, self.creds_store)


def parse(document: bytes, source: str) -> DockerConfig:
    """Raises :class:`ExportRefused`, without a word of what is in the document."""
    try:
        return msgspec.json.decode(document, type=DockerConfig)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ExportRefused(f"{source} is no docker configuration; docker login writes one") from None


def stored(config: DockerConfig, host: str, repository: str) -> Credentials:
    """What ``auths`` has for the registry; :data:`ANONYMOUS` if nothing. Raises :class:`ExportRefused`."""
    return next((_decoded(entry, host) for entry in _entries(config, host, repository)), ANONYMOUS)


def _entries(config: DockerConfig, host: str, repository: str) -> Iterator[Entry]:
    """Entries for the host, best first: with a path that leads to the repository, as the kubelet and podman match
    them, the longest first; then without a path; then any other."""

    def order(key: str) -> int:
        path = key.lower().rpartition("://")[2].partition("/")[2].strip("/")
        if path in ("", "v1", "v2"):
            return 0
        return -len(path) if f"{repository}/".startswith(f"{path}/") else 1

    wanted = canonical_host(host)
    keys = [key for key, entry in config.auths.items() if canonical_host(key) == wanted and entry != Entry()]
    return (config.auths[key] for key in sorted(keys, key=order))


def _decoded(entry: Entry, host: str) -> Credentials:
    username, password = entry.username, entry.password
    if entry.auth:
        try:
            text = base64.b64decode("".join(entry.auth.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ExportRefused(
                f"the docker configuration has an auth for {host} that is not base64; log in again"
            ) from None
        # Docker pads with NUL what it encrypted long ago, and still strips it.
        username, _, password = text.rstrip("\0").partition(":")
    return Credentials(
        username=username,
        password=password,
        identity_token=entry.identitytoken,
        registry_token=entry.registrytoken,
    )
