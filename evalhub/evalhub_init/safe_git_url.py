"""Where a repository really is: redirects followed one by one, each host looked at before it is asked."""

from __future__ import annotations

import base64
import socket
from collections.abc import Collection
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import ClientError
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct
from yarl import URL

from evalhub_init.addresses import public_addresses
from evalhub_init.download import new_session
from evalhub_init.errors import InitError

SERVICE = "/info/refs?service=git-upload-pack"
MOST_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
PORTS = {"http": 80, "https": 443}


class Remote(Struct, kw_only=True, frozen=True):
    """``url`` has no credentials in it. ``pinned`` is curl's way to say to which addresses its host means."""

    url: str
    scheme: str
    pinned: str
    authorization: str = ""

    def redacted(self, text: str) -> str:
        """What git says, without the credentials."""
        return text.replace(self.authorization, "[redacted]") if self.authorization else text


async def find_remote(url: str, username: str, password: str, allowed: Collection[str]) -> Remote:
    """Follow redirects, at most ten, to where the repository is. Credentials stay with the host that they are for.

    Raises :class:`InitError` for an address that is not http or https, for one that is not for everybody (see
    :mod:`evalhub_init.addresses`), and for credentials that would go without TLS.
    """
    parts = _checked(url)
    username = username or unquote(parts.username or "")
    password = password or unquote(parts.password or "")
    authorization = ""
    if username or password:
        pair = f"{username}:{password}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    if authorization and parts.scheme != "https":
        raise InitError("The repository of the test data needs https, since there are credentials for it.")
    url = _plain(parts)
    for _ in range(MOST_REDIRECTS + 1):
        parts = _checked(url)
        host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
        proxied = bool(getproxies().get(parts.scheme)) and not proxy_bypass(host)
        addresses = await public_addresses(host, port, allowed, proxied=proxied)
        if proxied:
            addresses = []  # the proxy connects, not we
        location = await _redirect(url, addresses, authorization)
        if not location:
            return Remote(
                url=url,
                scheme=parts.scheme,
                pinned=_pinned(host, port, addresses),
                authorization=authorization,
            )
        following = _following(parts, urljoin(url + SERVICE, location))
        if (following.hostname, following.port or PORTS[following.scheme]) != (parts.hostname, port):
            authorization = ""
        url = _plain(following)
    raise InitError(f"The repository of the test data redirects more than {MOST_REDIRECTS} times.")


class _Fixed(AbstractResolver):
    """Knows one host: the one whose addresses have been looked at."""

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
    """Where a repository says that it is instead; empty if it is here."""
    headers = {"Authorization": authorization} if authorization else {}
    asked = URL(url + SERVICE, encoded=True)
    try:
        async with (
            new_session(_Fixed(addresses) if addresses else None) as session,
            session.get(asked, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.headers.get("Location", "") if answer.status in REDIRECTS else ""
    except (ClientError, TimeoutError, ValueError) as error:
        raise InitError(f"The host '{asked.host}' of the test data cannot be asked: {error}.") from None


def _following(parts: SplitResult, target: str) -> SplitResult:
    if not target.endswith(SERVICE):
        raise InitError("The repository of the test data redirects to what is no repository.")
    following = _checked(target.removesuffix(SERVICE))
    if parts.scheme == "https" and following.scheme != "https":
        raise InitError("The repository of the test data redirects to an address without TLS.")
    return following


def _pinned(host: str, port: int, addresses: list[str]) -> str:
    if not addresses:
        return ""
    return f"{host}:{port}:{','.join(f'[{a}]' if ':' in a else a for a in addresses)}"


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    bad = parts.scheme not in PORTS or not parts.hostname or port == 0 or "\n" in url
    if bad:
        raise InitError("The repository of the test data has no http or https address.")
    return parts


def _plain(parts: SplitResult) -> str:
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
