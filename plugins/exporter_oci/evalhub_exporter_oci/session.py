"""HTTP session with one repository of a registry, with its authorization."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec
import structlog
from aiohttp.abc import AbstractResolver
from msgspec import Struct
from yarl import URL

from evalhub_exporter_oci.addresses import AddressPolicy, AddressRefused, CheckedResolver
from evalhub_exporter_oci.location import Location
from evalhub_server.plugins import (
    DOCKER_HUB_REALMS,
    SERVER_VERSION,
    Challenge,
    ExportRefused,
    RegistryCredentials,
    is_trusted_realm,
    parse_challenges,
    proxy_options,
)

log = structlog.get_logger()

T = TypeVar("T")

_MAX_BODY_BYTES = 1024 * 1024
_FINAL = frozenset({301, 302, 303, 307, 308, 400, 405, 411, 413, 414, 415})


class RegistryError(Exception):
    """A registry failed or refused a request; a retry may succeed."""


class _Token(Struct):
    token: str = ""
    access_token: str = ""


class _Fault(Struct):
    code: str = ""
    message: str = ""


class _Faults(Struct):
    errors: list[_Fault] = []


class RegistrySession:
    """An async context manager. Redirects are not followed, so that credentials reach the registry only.

    With ``policy``, for jobs of tenants, addresses are checked, and connection errors do not tell what was found there: the
    log has the reason. Without it, any address is allowed.
    """

    def __init__(
        self,
        location: Location,
        credentials: RegistryCredentials,
        *,
        timeout_s: float,
        ca_cert_path: str = "",
        allowed_realms: Collection[str] = DOCKER_HUB_REALMS,
        policy: AddressPolicy | None = None,
    ) -> None:
        self._location = location
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._ca_cert_path = ca_cert_path
        self._authorization = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""
        self._allowed_realms = allowed_realms
        self._policy = policy
        self._http: aiohttp.ClientSession | None = None
        self._proxied: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(self._tls)  # loading certificates blocks
        self._http = self._client(tls, CheckedResolver(self._policy) if self._policy else None)
        # A proxy connects to the registry; its own address is often private.
        self._proxied = self._client(tls, None)
        return self

    def _client(self, tls: ssl.SSLContext | bool, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, resolver=resolver, use_dns_cache=False),
            timeout=self._timeout,
            headers={"User-Agent": f"eval-hub-server/{SERVER_VERSION}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:  # closes both even if it is cancelled
            for http in (self._http, self._proxied):
                assert http is not None  # noqa: S101  set on entering
                stack.push_async_callback(http.close)

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send a request; repeat it with new authorization after a 401.

        ``url`` may be on another server, as for uploads, to which no authorization is sent.
        """
        own = url.origin() == URL(self._location.url).origin()
        for fresh in (False, True):
            request_headers = {**(headers or {})}
            if own and self._authorization:
                request_headers["Authorization"] = self._authorization
            async with self._send(method, url, data=body, headers=request_headers) as answer:
                if answer.status != 401 or fresh or not own:
                    yield answer
                    return
                challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
            await self._authorize(challenges)

    @asynccontextmanager
    async def _send(
        self, method: str, url: URL, *, data: bytes | Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        try:
            options = proxy_options(str(url), headers)
            await self._check(url, proxied="proxy" in options)
            http = self._proxied if "proxy" in options else self._http
            assert http is not None  # noqa: S101  set on entering
            async with http.request(method, url, data=data, allow_redirects=False, **options) as answer:
                yield answer
        except (aiohttp.ClientError, OSError, ValueError) as error:
            reason = self._reason(error)
            if self._policy is None:
                raise RegistryError(f"{url.origin()} cannot be reached: {reason}") from error
            log.warning(
                "Registry request failed",
                artifact=self._location.text,
                method=method,
                server=str(url.origin()),
                error=reason,
            )
            # One text for all causes: others would tell the tenant what is at an address.
            raise RegistryError(f"{self._location.host} cannot be reached; see the server's log") from None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout.total:g} s"
        if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
            return str(error.os_error)
        return str(error) or type(error).__name__

    async def _check(self, url: URL, *, proxied: bool) -> None:
        """Check an address in a URL and, where a proxy connects, what its name means here. Raises :class:`AddressRefused`."""
        if self._policy is None:
            return
        host, port = url.host or "", url.port or 0
        self._policy.check_literal(host, port)
        if proxied:
            with suppress(socket.gaierror):  # behind a proxy, public names often cannot be resolved
                await CheckedResolver(self._policy).resolve(host, port)

    async def _authorize(self, challenges: list[Challenge]) -> None:
        """Get the authorization for a challenge. Raises :class:`RegistryError` without credentials for it."""
        for challenge in challenges:
            if challenge.scheme == "bearer":
                self._authorization = f"Bearer {await self._token(challenge.parameters)}"
                return
            if challenge.scheme == "basic" and self._credentials.basic:
                self._authorization = self._credentials.basic
                return
        raise RegistryError(
            f"{self._location.host} requires authentication and there are no credentials for it; "
            f"run docker login {self._location.host}"
        )

    async def _token(self, parameters: Mapping[str, str]) -> str:
        """Fetch a token, after the token specification of the distribution project."""
        realm = self._realm(parameters.get("realm", ""))
        scope = parameters.get("scope") or f"repository:{self._location.repository}:pull,push"
        query = {"scope": scope}
        if service := parameters.get("service"):
            query["service"] = service
        if self._credentials.identity_token:
            query |= {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "client_id": "eval-hub-server",
            }
            request = self._send("POST", realm, data=query, headers={})
        else:
            basic = self._credentials.basic
            request = self._send(
                "GET", realm.update_query(query), data=b"", headers={"Authorization": basic} if basic else {}
            )
        async with request as answer:
            if answer.status != 200:
                raise await refusal(answer, f"get a token for {self._location.repository}")
            token = _decoded(await body_of(answer), _Token)
        if token is None or not (token.token or token.access_token):
            raise RegistryError(f"{realm.origin()} answered the request for a token without one")
        return token.token or token.access_token

    def _realm(self, text: str) -> URL:
        try:
            realm = URL(text)
        except ValueError:
            realm = URL()
        schemes = ("http", "https") if self._location.plain_http else ("https",)
        if realm.scheme not in schemes or not realm.host or realm.user:
            raise ExportRefused(
                f"{self._location.host} requests tokens from {text!r}, which must not get credentials"
            )
        registry = URL(self._location.url).host or ""
        if not is_trusted_realm(realm.host, registry, self._allowed_realms):
            raise ExportRefused(
                f"{self._location.host} requests tokens from {realm.host}, which is of another domain and must not get "
                "credentials; if it may, add it to oci.allowed_realms"
            )
        return realm

    def _tls(self) -> ssl.SSLContext | bool:
        if self._location.plain_http or not self._ca_cert_path:
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(Path(self._ca_cert_path).expanduser())
        return context


async def refusal(answer: aiohttp.ClientResponse, action: str) -> Exception:
    """The exception for an error response.

    It is final if the request itself is invalid. Credentials, rights, and missing repositories and blobs can be fixed
    before the next attempt of the export.
    """
    faults = _decoded(await body_of(answer), _Faults)
    message = (
        "; ".join(f"{f.code}: {f.message}" if f.message else f.code for f in faults.errors) if faults else ""
    )
    text = f"{answer.url.origin()} refused to {action}: {answer.status} {message or answer.reason}"
    if answer.status in (401, 403):
        return RegistryError(f"{text}; check the credentials and their rights")
    is_missing = faults is not None and any(fault.code.endswith("_UNKNOWN") for fault in faults.errors)
    return ExportRefused(text) if answer.status in _FINAL and not is_missing else RegistryError(text)


async def body_of(answer: aiohttp.ClientResponse) -> bytes:
    """The body of a response, truncated if it is too long."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > _MAX_BODY_BYTES:
            break
    return bytes(body)


def _decoded(body: bytes, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
