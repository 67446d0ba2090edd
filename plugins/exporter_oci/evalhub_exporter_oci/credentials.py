"""Registry credentials of the server's user or of a tenant: docker configurations and credential helpers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_exporter_oci.location import Location
from evalhub_server.plugins import (
    NO_CREDENTIALS,
    DockerConfig,
    DockerConfigError,
    ExportRefused,
    RegistryCredentials,
    credential_helper_key,
)

HELPER_TIMEOUT_S = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TOKEN_USER = "<token>"  # noqa: S105  the user name that marks the secret as a refresh token


class _HelperOutput(Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


def parse_config(document: bytes, source: str) -> DockerConfig:
    """Raises :class:`ExportRefused`, without the content of the document."""
    try:
        return DockerConfig.parse(document)
    except DockerConfigError as error:
        raise ExportRefused(f"{source} is {error}; create one with docker login") from None


def stored_credentials(config: DockerConfig, host: str, repository: str) -> RegistryCredentials:
    """The credentials in the file itself. Raises :class:`ExportRefused`."""
    try:
        return config.credentials(host, repository)
    except DockerConfigError as error:
        raise ExportRefused(f"the docker configuration cannot be used: {error}") from None


async def user_credentials(
    location: Location, auth_config_path: str, environ: Mapping[str, str]
) -> RegistryCredentials:
    """The credentials that ``docker login`` has stored for the server's user.

    The file is read for each export, so that a login takes effect at once. Raises :class:`ExportRefused`, and
    :class:`OSError` if the file cannot be read or ``auth_config_path`` does not exist.
    """
    file = config_file(auth_config_path, environ)
    try:
        document = await asyncio.to_thread(file.read_bytes)
    except FileNotFoundError:
        if auth_config_path:
            raise
        return NO_CREDENTIALS
    config = parse_config(document, str(file))
    if name := config.helper(location.host):
        credentials = await helper_credentials(name, location.host)
        if credentials != NO_CREDENTIALS:
            return credentials
    return stored_credentials(config, location.host, location.repository)


def config_file(auth_config_path: str, environ: Mapping[str, str]) -> Path:
    """The file of the setting, else ``config.json`` in ``DOCKER_CONFIG``, else in ``~/.docker``."""
    if auth_config_path:
        return Path(auth_config_path).expanduser()
    directory = environ.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path("~/.docker").expanduser()) / "config.json"


async def helper_credentials(name: str, host: str, limit_s: float = HELPER_TIMEOUT_S) -> RegistryCredentials:
    """The output of ``docker-credential-NAME get``, a program that keeps secrets in a key ring.

    Only for configurations of the server's own user, since it runs a program. Raises :class:`ExportRefused` without such
    a program, :class:`TimeoutError` if it runs longer than ``limit_s``.
    """
    program = f"docker-credential-{name}"
    path = shutil.which(program) if _HELPER_NAME.fullmatch(name) else None
    if path is None:
        raise ExportRefused(f"the docker configuration names {program!r}, which is not on the server's PATH")
    process = await asyncio.create_subprocess_exec(
        path,
        "get",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(credential_helper_key(host).encode()), limit_s)
    except TimeoutError:
        raise TimeoutError(f"{program} did not exit within {limit_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        return NO_CREDENTIALS  # by the protocol of helpers, a failure means that there are none
    try:
        found = msgspec.json.decode(output, type=_HelperOutput)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ExportRefused(f"{program} did not print JSON") from None
    if found.username == _TOKEN_USER:
        return RegistryCredentials(identity_token=found.secret)
    return RegistryCredentials(username=found.username, password=found.secret)
