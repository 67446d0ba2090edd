"""The OCI registry of a job's export as an upstream: the adapter pushes without credentials, the sidecar adds them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import msgspec
from aiohttp import ClientError, ClientSession
from msgspec import Struct
from multidict import CIMultiDict

from evalhub_common.docker_credentials import DockerConfig, DockerConfigError, registry_api_host
from evalhub_common.http_auth import parse_challenges
from evalhub_common.registry_realms import is_trusted_realm
from evalhub_sidecar import logs
from evalhub_sidecar.config import TOKEN_CACHE, UPSTREAM_TIMEOUT, Oci
from evalhub_sidecar.errors import bad_gateway
from evalhub_sidecar.forward import problem
from evalhub_sidecar.job_spec import Coordinates
from evalhub_sidecar.paths import Target
from evalhub_sidecar.upstream import Upstream

REGISTRY = "the registry"
_MIN_LIFETIME_S = 10.0


class _Token(Struct, kw_only=True, frozen=True):
    token: str = ""
    access_token: str = ""
    expires_in: float | None = None


def basic_header(file: Path, host: str, repository: str) -> str:
    """The ``Basic`` header for a repository; empty if the docker configuration has none."""
    try:
        return DockerConfig.parse(file.read_bytes()).credentials(host, repository).basic
    except FileNotFoundError:
        return ""
    except (OSError, DockerConfigError) as error:
        logs.warning("Docker configuration cannot be used", path=str(file), error=str(error))
        return ""


class Registry:
    """One repository of one registry; requests for others have no route."""

    def __init__(
        self, config: Oci, coordinates: Coordinates, docker_config: Path, session: ClientSession
    ) -> None:
        host = coordinates.oci_host.rstrip("/")
        scheme, _, name = host.rpartition("://")
        self.upstream = Upstream(
            REGISTRY,
            f"{scheme or 'https'}://{registry_api_host(name)}",
            timeout_s=UPSTREAM_TIMEOUT if config.http_timeout is None else config.http_timeout,
            ca_file=config.ca_cert_path,
            verify=not config.insecure_skip_verify,
        )
        self._allowed_realms = config.allowed_realms
        self._repository = coordinates.oci_repository.strip("/")
        self._basic = basic_header(docker_config, host, self._repository)
        self._session = session
        self._header: str | None = None
        self._valid_until = float("-inf")
        self._lock = asyncio.Lock()

    def serves(self, target: Target) -> bool:
        """Whether the request is one for the job's repository."""
        repository = f"/{self._repository}"
        return bool(self._repository) and (target.below(repository) or target.below(f"/v2{repository}"))

    async def authorization(self) -> str | None:
        """The header to send; None without one. Raises :class:`Refused`, 502."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if loop.time() >= self._valid_until:
                try:
                    self._header, lifetime_s = await self._log_in()
                except (ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
                    raise bad_gateway(REGISTRY, problem(error)) from error
                self._valid_until = loop.time() + lifetime_s
            return self._header

    def forget_credentials(self) -> None:
        """Log in again for the next request, because the header was refused."""
        self._valid_until = float("-inf")

    def change_headers(self, client_url: str, headers: CIMultiDict[str]) -> None:
        """Keep the adapter at the sidecar: remove requests to log in, and rewrite the URL of the next upload."""
        headers.popall("WWW-Authenticate", None)
        headers.popall("Authorization", None)
        location = headers.get("Location", "")
        if urlsplit(location).netloc.lower() == urlsplit(self.upstream.origin).netloc.lower():
            parts = urlsplit(location)
            headers["Location"] = client_url + location[location.index(parts.netloc) + len(parts.netloc) :]

    async def _log_in(self) -> tuple[str | None, float]:
        """(header, its lifetime in seconds)."""
        async with self._session.get(self.upstream.url("/v2/"), **self.upstream.options({})) as answer:
            challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
            bearer = next((c for c in challenges if c.scheme == "bearer"), None)
            if answer.status != 401 or bearer is None:
                return self._basic or None, TOKEN_CACHE
        return await self._token(bearer.parameters)

    async def _token(self, challenge: Mapping[str, str]) -> tuple[str, float]:
        url = challenge.get("realm", "")
        realm = Upstream(REGISTRY, url, timeout_s=UPSTREAM_TIMEOUT)
        if not is_trusted_realm(realm.host, self.upstream.host, self._allowed_realms):
            raise bad_gateway(
                REGISTRY,
                f"it wants credentials sent to {realm.host or 'nowhere'}, which is of another domain",
            )
        if self.upstream.secure and not realm.secure:
            raise bad_gateway(REGISTRY, "it wants credentials sent to an address without TLS")
        query = {
            "service": challenge.get("service", ""),
            "scope": challenge.get("scope") or f"repository:{self._repository}:pull,push",
        }
        url += "&" if "?" in url else "?"
        options = realm.options({"Authorization": self._basic} if self._basic else {})
        if realm.secure:
            options["ssl"] = self.upstream.tls
        async with self._session.get(
            url + urlencode({name: value for name, value in query.items() if value}), **options
        ) as answer:
            if answer.status >= 400:
                raise bad_gateway(REGISTRY, f"it refused to log in with {answer.status}")
            token = msgspec.json.decode(await answer.read(), type=_Token)
        lifetime_s = TOKEN_CACHE if token.expires_in is None else token.expires_in - _MIN_LIFETIME_S
        return f"Bearer {token.token or token.access_token}", min(lifetime_s, TOKEN_CACHE)
