"""Lookup of the HTTP proxy for a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case.

Instead of aiohttp's ``trust_env``, which also reads passwords from ``~/.netrc``, sends requests for this computer to a
proxy, and does not know networks (``10.0.0.0/8``) in NO_PROXY, which clusters usually set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from evalhub_common.addresses import is_loopback
from evalhub_common.http_auth import userinfo_auth
from evalhub_common.urls import split_http_url, without_userinfo


class Proxy(NamedTuple):
    """``url`` has no user and password, which error messages would show; ``userinfo`` is ``user:password`` or empty.

    ``tunnel``: requests are sent in a tunnel, because the target is an https URL.
    """

    url: str
    userinfo: str = ""
    tunnel: bool = False

    @property
    def url_with_userinfo(self) -> str:
        """For programs that take the credentials in the URL, such as git."""
        scheme, _, host = self.url.partition("://")
        return f"{scheme}://{self.userinfo}@{host}" if self.userinfo else self.url

    def options(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Keyword arguments of an aiohttp request with these headers."""
        authorization = userinfo_auth(urlsplit(self.url_with_userinfo))
        if not authorization:
            return {"headers": headers, "proxy": self.url}
        if self.tunnel:  # the proxy reads the headers of the tunnel only
            tunnel_headers = {"Proxy-Authorization": authorization}
            return {"headers": headers, "proxy": self.url, "proxy_headers": tunnel_headers}
        extended: Any = copy(headers)  # of the same type, because a multidict repeats headers
        extended["Proxy-Authorization"] = authorization
        return {"headers": extended, "proxy": self.url}


def find_proxy(url: str) -> Proxy | None:
    """The proxy for a request; None for a direct connection, which this computer always gets.

    Raises:
        ValueError: the environment names something else than an http or https URL; the text has no password in it.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    value = proxies.get(parts.scheme, "")
    if not value or _bypasses(parts.hostname or "", parts.port, proxies.get("no", "")):
        return None
    scheme, separator, rest = value.rpartition("://")
    scheme = scheme if separator else "http"
    proxy = split_http_url(f"{scheme}://{rest}")
    if proxy is None:
        shown = f"{scheme}://{rest.rpartition('@')[2]}"
        raise ValueError(f"the proxy {shown!r} of the environment is not an http or https URL")
    bare = without_userinfo(proxy)._replace(path="", query="", fragment="")
    return Proxy(bare.geturl(), proxy.netloc.rpartition("@")[0], parts.scheme == "https")


def proxy_options(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of an aiohttp request to ``url``: the headers and, if there is one, its proxy.

    Raises:
        ValueError: as :func:`find_proxy`.
    """
    proxy = find_proxy(url)
    return {"headers": headers} if proxy is None else proxy.options(headers)


def _bypasses(host: str, port: int | None, no_proxy: str) -> bool:
    if is_loopback(host) or proxy_bypass(host if port is None else f"{host}:{port}"):
        return True
    return _in_networks(host, (entry.strip() for entry in no_proxy.split(",") if "/" in entry))


def _in_networks(host: str, networks: Iterable[str]) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    for network in networks:
        try:
            if address in ip_network(network, strict=False):
                return True
        except ValueError:
            continue  # not a network: other programs read the variable, too, and none of them complains
    return False
