"""Resolution of a git URL: follows redirects one by one, and checks each host before a request is sent to it."""

from __future__ import annotations

import socket
from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urljoin

from aiohttp import ClientError
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

from evalhub_common.http_auth import basic_auth
from evalhub_common.proxies import find_proxy, proxy_options
from evalhub_common.urls import port_of, split_http_url, without_userinfo
from evalhub_init.addresses import public_addresses
from evalhub_init.download import MAX_REDIRECTS, REDIRECTS, new_session
from evalhub_init.errors import InitError

SERVICE = "/info/refs?service=git-upload-pack"


class Remote(Struct, kw_only=True, frozen=True):
    """``url`` has no credentials. ``pinned`` is curl's ``--resolve`` entry with the checked addresses of its host.

    ``proxy`` is a URL with its credentials; empty for a direct connection.
    """

    url: str
    scheme: str
    pinned: str
    authorization: str = ""
    proxy: str = ""

    def redacted(self, text: str) -> str:
        """Output of git without the credentials."""
        return text.replace(self.authorization, "[redacted]") if self.authorization else text


async def find_remote(url: str, username: str, password: str, allowed: Collection[str]) -> Remote:
    """Follow at most ten redirects to the repository. Credentials are not sent to other hosts.

    Raises :class:`InitError` for an address that is not http or https or not allowed (see
    :mod:`evalhub_init.addresses`), and for credentials without TLS.
    """
    parts = _checked(url)
    username = username or unquote(parts.username or "")
    password = password or unquote(parts.password or "")
    authorization = ""
    if username or password:
        authorization = basic_auth(username, password)
    if authorization and parts.scheme != "https":
        raise InitError("The repository of the test data needs https, since there are credentials for it.")
    url = _plain(parts)
    for _ in range(MAX_REDIRECTS + 1):
        parts = _checked(url)
        host, port = parts.hostname or "", port_of(parts)
        proxy = find_proxy(url)
        addresses = await public_addresses(host, port, allowed, proxied=proxy is not None)
        if proxy is not None:
            addresses = []  # the proxy connects
        location = await _redirect(url, addresses, authorization)
        if not location:
            return Remote(
                url=url,
                scheme=parts.scheme,
                pinned=_pinned(host, port, addresses),
                authorization=authorization,
                proxy=proxy.url_with_userinfo if proxy else "",
            )
        following = _following(parts, urljoin(url + SERVICE, location))
        if (following.hostname, port_of(following)) != (parts.hostname, port):
            authorization = ""
        url = _plain(following)
    raise InitError(f"The repository of the test data redirects more than {MAX_REDIRECTS} times.")


class _Fixed(AbstractResolver):
    """Resolves a host to the addresses that were checked."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        return


async def _redirect(url: str, addresses: list[str], authorization: str) -> str:
    """The target of a redirect; empty if the repository is at this URL."""
    headers = {"Authorization": authorization} if authorization else {}
    service_url = URL(url + SERVICE, encoded=True)
    try:
        async with (
            new_session(_Fixed(addresses) if addresses else None) as session,
            session.get(
                service_url, allow_redirects=False, **proxy_options(str(service_url), headers)
            ) as answer,
        ):
            return answer.headers.get("Location", "") if answer.status in REDIRECTS else ""
    except (ClientError, TimeoutError, ValueError) as error:
        raise InitError(
            f"The host '{service_url.host}' of the test data cannot be reached: {error}."
        ) from None


def _following(parts: SplitResult, target: str) -> SplitResult:
    if not target.endswith(SERVICE):
        raise InitError("The repository of the test data redirects to a URL that is not a repository.")
    following = _checked(target.removesuffix(SERVICE))
    if parts.scheme == "https" and following.scheme != "https":
        raise InitError("The repository of the test data redirects to an address without TLS.")
    return following


def _pinned(host: str, port: int, addresses: list[str]) -> str:
    if not addresses:
        return ""
    return f"{host}:{port}:{','.join(f'[{a}]' if ':' in a else a for a in addresses)}"


def _checked(url: str) -> SplitResult:
    parts = split_http_url(url)
    if parts is None or "\n" in url:
        raise InitError("The repository of the test data has no http or https address.")
    return parts


def _plain(parts: SplitResult) -> str:
    return without_userinfo(parts)._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()
