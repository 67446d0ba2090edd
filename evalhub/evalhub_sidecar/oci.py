"""The registry that a job exports to: the adapter pushes through the sidecar, which has the credentials."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from aiohttp import ClientError, ClientSession
from msgspec import Struct
from multidict import CIMultiDict

from evalhub_sidecar import logs
from evalhub_sidecar.config import TOKEN_CACHE, UPSTREAM_TIMEOUT, Oci
from evalhub_sidecar.errors import bad_gateway
from evalhub_sidecar.forward import problem
from evalhub_sidecar.job_spec import Coordinates
from evalhub_sidecar.paths import Target
from evalhub_sidecar.upstream import Upstream

REGISTRY = "the registry"
DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
_DOCKER_HUB_ALIASES = frozenset((DOCKER_HUB, DOCKER_HUB_API, "index.docker.io", "registry.hub.docker.com"))
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_LEAST_LIFE_S = 10.0


class _Entry(Struct, kw_only=True, frozen=True):
    auth: str = ""
    username: str = ""
    password: str = ""


class _DockerConfig(Struct, kw_only=True, frozen=True):
    auths: dict[str, _Entry] = {}


class _Token(Struct, kw_only=True, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


def canonical_host(host: str) -> str:
    """As docker configurations are compared: lower case, without scheme and path, one name for Docker Hub."""
    name = host.partition("://")[2] or host
    name = name.partition("/")[0].lower()
    return DOCKER_HUB if name in _DOCKER_HUB_ALIASES else name


def docker_credentials(file: Path, host: str) -> str:
    """The ``Basic`` header for a registry, or empty if the docker configuration has none."""
    try:
        config = msgspec.json.decode(file.read_bytes(), type=_DockerConfig)
    except FileNotFoundError:
        return ""
    except (OSError, msgspec.MsgspecError) as error:
        logs.warning("the docker configuration cannot be used", path=str(file), error=str(error))
        return ""
    wanted = canonical_host(host)
    for key, entry in config.auths.items():
        if canonical_host(key) == wanted:
            if entry.username or entry.password:
                pair = f"{entry.username}:{entry.password}".encode()
                return f"Basic {base64.b64encode(pair).decode()}"
            return f"Basic {entry.auth}" if entry.auth else ""
    return ""


class Registry:
    """One repository of one registry; no other one is reached through here."""

    def __init__(self, config: Oci, where: Coordinates, docker_config: Path, session: ClientSession) -> None:
        host = where.oci_host.rstrip("/")
        scheme, _, name = host.rpartition("://")
        if canonical_host(host) == DOCKER_HUB:
            name = DOCKER_HUB_API
        self.upstream = Upstream(
            REGISTRY,
            f"{scheme or 'https'}://{name}",
            timeout_s=UPSTREAM_TIMEOUT if config.http_timeout is None else config.http_timeout,
            ca_file=config.ca_cert_path,
            verify=not config.insecure_skip_verify,
        )
        self._repository = where.oci_repository.strip("/")
        self._basic = docker_credentials(docker_config, host)
        self._session = session
        self._header: str | None = None
        self._good_until = float("-inf")
        self._asking = asyncio.Lock()

    def serves(self, target: Target) -> bool:
        """Is this about the job's repository?"""
        repository = f"/{self._repository}"
        return bool(self._repository) and (target.below(repository) or target.below(f"/v2{repository}"))

    async def authorization(self) -> str | None:
        """The header that the registry wants; None if it wants none. Raises :class:`Refused`, 502."""
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() >= self._good_until:
                try:
                    self._header, lives_s = await self._ask()
                except (ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
                    raise bad_gateway(REGISTRY, problem(error)) from error
                self._good_until = loop.time() + lives_s
            return self._header

    def forget(self) -> None:
        """Ask for credentials again next time, because these were refused."""
        self._good_until = float("-inf")

    def change_answer(self, client_url: str, headers: CIMultiDict[str]) -> None:
        """Keep the adapter here: it has no credentials to log in with, and the next upload address is ours."""
        headers.popall("WWW-Authenticate", None)
        headers.popall("Authorization", None)
        location = headers.get("Location", "")
        if urlsplit(location).netloc.lower() == urlsplit(self.upstream.origin).netloc.lower():
            parts = urlsplit(location)
            headers["Location"] = client_url + location[location.index(parts.netloc) + len(parts.netloc) :]

    async def _ask(self) -> tuple[str | None, float]:
        """(header, seconds that it is good for)."""
        async with self._session.get(
            self.upstream.url("/v2/"),
            ssl=self.upstream.tls,
            proxy=self.upstream.proxy,
            timeout=self.upstream.timeout,
        ) as answer:
            challenge = answer.headers.get("WWW-Authenticate", "")
            if answer.status != 401 or not challenge.lower().startswith("bearer "):
                return self._basic or None, TOKEN_CACHE
        return await self._token(dict(_PARAMETER.findall(challenge)))

    async def _token(self, challenge: Mapping[str, str]) -> tuple[str, float]:
        realm = Upstream(REGISTRY, challenge.get("realm", ""), timeout_s=UPSTREAM_TIMEOUT)
        if self.upstream.secure and not realm.secure:
            raise bad_gateway(REGISTRY, "it wants credentials sent to an address without TLS")
        query = {
            "service": challenge.get("service", ""),
            "scope": challenge.get("scope") or f"repository:{self._repository}:pull,push",
        }
        url = challenge["realm"] + ("&" if "?" in challenge["realm"] else "?")
        async with self._session.get(
            url + urlencode({name: value for name, value in query.items() if value}),
            headers={"Authorization": self._basic} if self._basic else {},
            ssl=self.upstream.tls if realm.secure else True,
            proxy=realm.proxy,
            timeout=self.upstream.timeout,
        ) as answer:
            if answer.status >= 400:
                raise bad_gateway(REGISTRY, f"it refused to log in with {answer.status}")
            token = msgspec.json.decode(await answer.read(), type=_Token)
        life_s = TOKEN_CACHE if token.expires_in is None else token.expires_in - _LEAST_LIFE_S
        return f"Bearer {token.token or token.access_token}", min(life_s, TOKEN_CACHE)
