"""Lookup of the HTTP proxy for a URL: HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case.

Instead of aiohttp's ``trust_env``, which also reads passwords from ``~/.netrc``, sends requests for this computer to a
proxy, and does not know networks (``10.0.0.0/8``) in NO_PROXY, which clusters usually set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from evalhub_common.addresses import is_loopback
from evalhub_common.http_auth import userinfo_auth
from evalhub_common.urls import split_http_url, without_userinfo


class Proxy(NamedTuple):
    """``url`` has no user and password, which error messages would show; ``authorization`` is a header or empty."""

    url: str
    authorization: str


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
    value = value if "://" in value else f"http://{value}"
    proxy = split_http_url(value)
    if proxy is None:
        shown = value.partition("://")[0] + "://" + value.partition("://")[2].rpartition("@")[2]
        raise ValueError(f"the proxy {shown!r} of the environment is not an http or https URL")
    bare = urlunsplit(without_userinfo(proxy)._replace(path="", query="", fragment=""))
    return Proxy(bare, userinfo_auth(proxy))


def proxy_options(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Keyword arguments of an aiohttp request to ``url``: the headers and, if there is one, its proxy.

    Raises:
        ValueError: as :func:`find_proxy`.
    """
    proxy = find_proxy(url)
    if proxy is None:
        return {"headers": headers}
    if not proxy.authorization:
        return {"headers": headers, "proxy": proxy.url}
    # A proxy that tunnels TLS reads the headers of the tunnel only; any other reads those of the request.
    authorization = {"Proxy-Authorization": proxy.authorization}
    if urlsplit(url).scheme == "https":
        return {"headers": headers, "proxy": proxy.url, "proxy_headers": authorization}
    return {"headers": {**headers, **authorization}, "proxy": proxy.url}


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
