"""Grammar of http and https URLs, of ``host[:port]`` and of web origins."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\%]+))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*]+)")


def split_http_url(url: str) -> SplitResult | None:
    """The parts of an absolute URL; None unless it has the scheme http or https, a host, and a valid port if any."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number up to 65535, or brackets around what is not an address
        return None
    return parts if usable else None


def port_of(parts: SplitResult) -> int:
    """The port of a URL of :func:`split_http_url`, explicit or the default of its scheme."""
    return parts.port or DEFAULT_PORTS[parts.scheme]


def without_userinfo(parts: SplitResult) -> SplitResult:
    """The URL without user and password."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2])


def host_of(authority: str) -> str | None:
    """The name or address in ``host[:port]``: lower case, no brackets, no final dot; None for anything else."""
    match = _AUTHORITY.fullmatch(authority.strip(" \t").lower())
    if match is None:
        return None
    address, name, _port = match.groups()
    if address:
        return address
    host = name.removesuffix(".")
    return None if host.endswith(".") else host


def origin_host(origin: str) -> str | None:
    """The host of an http or https origin, as :func:`host_of` returns it; None for other text."""
    scheme, _, authority = (normalize_origin(origin) or "").partition("://")
    return host_of(authority) if scheme in DEFAULT_PORTS else None


def normalize_origin(text: str) -> str | None:
    """A web origin in lower case and without its scheme's default port; None for anything else, such as ``null``."""
    match = _ORIGIN.fullmatch(text.strip(" \t").lower())
    if match is None:
        return None
    scheme, authority = match.groups()
    default = DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{authority.removesuffix(f':{default}') if default else authority}"
