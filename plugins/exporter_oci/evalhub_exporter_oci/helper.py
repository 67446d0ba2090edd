"""Docker's credential helpers: programs that keep secrets in the key ring of an operating system or a cloud."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil

import msgspec
from msgspec import Struct

from evalhub_exporter_oci.dockerconfig import ANONYMOUS, Credentials
from evalhub_exporter_oci.location import DOCKER_HUB, canonical_host
from evalhub_server.plugins import ExportRefused

TIMEOUT_S = 30.0
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""By this name ``docker login`` keeps what belongs to Docker Hub."""
_TOKEN_USER = "<token>"  # noqa: S105  a user name that says: the secret is a refresh token


class _Answer(Struct, rename="pascal"):
    username: str = ""
    secret: str = ""


async def ask(name: str, host: str, timeout_s: float = TIMEOUT_S) -> Credentials:
    """What ``docker-credential-NAME get`` has for the registry; :data:`ANONYMOUS` if nothing.

    It is somebody's program: call this only for a configuration of the server's own user. Raises
    :class:`ExportRefused` if there is no such program, :class:`TimeoutError` if it does not end.
    """
    program = f"docker-credential-{name}"
    path = shutil.which(program) if _NAME.fullmatch(name) else None
    if path is None:
        raise ExportRefused(f"the docker configuration wants {program!r}, which is not on the server's PATH")
    process = await asyncio.create_subprocess_exec(
        path,
        "get",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    server = _DOCKER_HUB_KEY if canonical_host(host) == DOCKER_HUB else host
    try:
        answer, _ = await asyncio.wait_for(process.communicate(server.encode()), timeout_s)
    except TimeoutError:
        raise TimeoutError(f"{program} did not end within {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        return ANONYMOUS  # by the helpers' protocol this is how they say: not found
    try:
        found = msgspec.json.decode(answer, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ExportRefused(f"{program} did not answer with JSON") from None
    if found.username == _TOKEN_USER:
        return Credentials(identity_token=found.secret)
    return Credentials(username=found.username, password=found.secret)
