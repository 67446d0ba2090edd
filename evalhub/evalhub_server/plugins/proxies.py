"""The proxy that the environment names for a connection of a plugin's.

Not aiohttp's ``trust_env``: that reads passwords out of ``~/.netrc``, too, and asks proxies for this very computer.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass


def request_options(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Options for a request of aiohttp's to ``url``: the headers, and the proxy if there is one.

    HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case, say which; this computer needs none. Raises
    :class:`ValueError` for a proxy's address that is none.
    """
    proxy = _proxy(url)
    if proxy is None:
        return {"headers": headers}
    address, login = proxy
    if not login:
        return {"headers": headers, "proxy": address}
    # Not in the address, which errors show. A tunnel's proxy sees the headers of the tunnel only, any other all.
    sent = {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
    if urlsplit(url).scheme == "https":
        return {"headers": headers, "proxy": address, "proxy_headers": sent}
    return {"headers": {**headers, **sent}, "proxy": address}


def _proxy(url: str) -> tuple[str, str] | None:
    """Its address, and ``user:password`` or nothing."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
        return None
    named = getproxies().get(parts.scheme, "")
    if not named:
        return None
    proxy = urlsplit(named if "://" in named else f"http://{named}")
    address = urlunsplit((proxy.scheme, proxy.netloc.rpartition("@")[2], "", "", ""))
    if not proxy.hostname or proxy.scheme not in ("http", "https"):
        raise ValueError(f"the proxy '{address}' that the environment names has no address of http or https")
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}" if proxy.username else ""
    return address, login


def is_loopback(host: str) -> bool:
    """Is the host (without a port) this computer, by its name or number?"""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
