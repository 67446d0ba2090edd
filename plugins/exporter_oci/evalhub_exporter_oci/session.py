"""Requests to one repository of one registry, with the authorization that the registry asks for."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from evalhub_exporter_oci.challenge import Challenge, parse_challenges
from evalhub_exporter_oci.dockerconfig import Credentials
from evalhub_exporter_oci.location import Location
from evalhub_server.plugins import SERVER_VERSION, ExportRefused, proxy_options

T = TypeVar("T")

_LONGEST_ANSWER_BYTES = 1024 * 1024
_FINAL = frozenset({301, 302, 303, 307, 308, 400, 405, 411, 413, 414, 415})


class RegistryError(Exception):
    """The registry did not do what it was asked; trying again later may help."""


class _Token(Struct):
    token: str = ""
    access_token: str = ""


class _Fault(Struct):
    code: str = ""
    message: str = ""


class _Faults(Struct):
    errors: list[_Fault] = []


class RegistrySession:
    """An async context manager. Redirects are not followed: credentials go where they belong."""

    def __init__(
        self, place: Location, credentials: Credentials, *, timeout_s: float, ca_cert_path: str = ""
    ) -> None:
        self._place = place
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._ca_cert_path = ca_cert_path
        self._authorization = f"Bearer {credentials.registry_token}" if credentials.registry_token else ""
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(self._tls)  # which takes long enough to hold up events
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls),
            timeout=self._timeout,
            headers={"User-Agent": f"eval-hub-server/{SERVER_VERSION}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None  # noqa: S101  made on entering
        await self._http.close()

    @asynccontextmanager
    async def request(
        self, method: str, url: URL, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """Send a request, a second time with fresh authorization if the first answer is 401.

        ``url`` may lead to another server, as registries let uploads do; that one gets no authorization.
        """
        own = url.origin() == URL(self._place.url).origin()
        for fresh in (False, True):
            sent = {**(headers or {})}
            if own and self._authorization:
                sent["Authorization"] = self._authorization
            async with self._send(method, url, data=body, headers=sent) as answer:
                if answer.status != 401 or fresh or not own:
                    yield answer
                    return
                challenges = parse_challenges(answer.headers.getall("WWW-Authenticate", []))
            await self._authorize(challenges)

    @asynccontextmanager
    async def _send(
        self, method: str, url: URL, *, data: bytes | Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        assert self._http is not None  # noqa: S101  made on entering
        try:
            async with self._http.request(
                method, url, data=data, allow_redirects=False, **proxy_options(str(url), headers)
            ) as answer:
                yield answer
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, ValueError) as error:
            reason = (
                f"no answer within {self._timeout.total:g} s" if isinstance(error, TimeoutError) else error
            )
            raise RegistryError(f"{url.origin()} cannot be reached: {reason}") from error

    async def _authorize(self, challenges: list[Challenge]) -> None:
        """Prepare the answer to a challenge. Raises :class:`RegistryError` if there is none to give."""
        for challenge in challenges:
            if challenge.scheme == "bearer":
                self._authorization = f"Bearer {await self._token(challenge.parameters)}"
                return
            if challenge.scheme == "basic" and self._credentials.basic:
                self._authorization = self._credentials.basic
                return
        raise RegistryError(
            f"{self._place.host} wants to know who pushes and there are no credentials for it; "
            f"docker login {self._place.host} makes some"
        )

    async def _token(self, parameters: Mapping[str, str]) -> str:
        """Fetch a token as the distribution project's token specification says."""
        realm = self._realm(parameters.get("realm", ""))
        scope = parameters.get("scope") or f"repository:{self._place.repository}:pull,push"
        asked = {"scope": scope}
        if service := parameters.get("service"):
            asked["service"] = service
        if self._credentials.identity_token:
            asked |= {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "client_id": "eval-hub-server",
            }
            request = self._send("POST", realm, data=asked, headers={})
        else:
            basic = self._credentials.basic
            request = self._send(
                "GET", realm.update_query(asked), data=b"", headers={"Authorization": basic} if basic else {}
            )
        async with request as answer:
            if answer.status != 200:
                raise await refusal(answer, f"get a token for {self._place.repository}")
            token = _decoded(await body_of(answer), _Token)
        if token is None or not (token.token or token.access_token):
            raise RegistryError(f"{realm.origin()} answered the request for a token without one")
        return token.token or token.access_token

    def _realm(self, text: str) -> URL:
        try:
            realm = URL(text)
        except ValueError:
            realm = URL()
        schemes = ("http", "https") if self._place.plain_http else ("https",)
        if realm.scheme not in schemes or not realm.host or realm.user:
            raise ExportRefused(
                f"{self._place.host} sends for tokens to {text!r}, which is not a place for credentials"
            )
        return realm

    def _tls(self) -> ssl.SSLContext | bool:
        if self._place.plain_http or not self._ca_cert_path:
            return True
        context = ssl.create_default_context()
        context.load_verify_locations(Path(self._ca_cert_path).expanduser())
        return context


async def refusal(answer: aiohttp.ClientResponse, what: str) -> Exception:
    """The exception for an answer that is no success.

    It is final if the request is wrong in itself. Credentials, rights and what the registry does not know (a
    repository, a blob that it has removed) are mended elsewhere while the export waits for its next try.
    """
    faults = _decoded(await body_of(answer), _Faults)
    said = (
        "; ".join(f"{f.code}: {f.message}" if f.message else f.code for f in faults.errors) if faults else ""
    )
    text = f"{answer.url.origin()} refused to {what}: {answer.status} {said or answer.reason}"
    if answer.status in (401, 403):
        return RegistryError(f"{text}; check the credentials for it, and what they may push")
    lost = faults is not None and any(fault.code.endswith("_UNKNOWN") for fault in faults.errors)
    return ExportRefused(text) if answer.status in _FINAL and not lost else RegistryError(text)


async def body_of(answer: aiohttp.ClientResponse) -> bytes:
    """The answer's body, or the beginning of one that is too long to be sensible."""
    body = bytearray()
    async for part in answer.content.iter_any():
        body += part
        if len(body) > _LONGEST_ANSWER_BYTES:
            break
    return bytes(body)


def _decoded(body: bytes, type_: type[T]) -> T | None:
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
