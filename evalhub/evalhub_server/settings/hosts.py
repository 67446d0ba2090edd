"""Hosts and origins, as headers and the configuration spell them."""

from __future__ import annotations

import ipaddress
import re

from evalhub_server.errors import SettingsError

LOOPBACK_NAME = "localhost"
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:/?#@\[\]\\%]+))(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#@*]+)")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")


def host_of(authority: str) -> str | None:
    """The name or address in ``host[:port]``: lower case, no brackets, no final dot; None for anything else."""
    match = _AUTHORITY.fullmatch(authority.strip(" \t").lower())
    if match is None:
        return None
    address, name, _port = match.groups()
    return address or name.removesuffix(".")


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Does it mean this computer, whatever a name server says? ``localhost`` and all below it do (RFC 6761)."""
    if host == LOOPBACK_NAME or host.endswith("." + LOOPBACK_NAME):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def normal_origin(text: str) -> str | None:
    """Lower case, and without the port that the scheme has anyway; None for what is no origin, such as ``null``."""
    match = _ORIGIN.fullmatch(text.strip(" \t").lower())
    if match is None:
        return None
    scheme, authority = match.groups()
    return f"{scheme}://{authority.removesuffix(DEFAULT_PORTS.get(scheme, '/'))}"


def allowed_host(entry: str, key: str = "service.allowed_hosts") -> str:
    """An entry of ``allowed_hosts`` as :func:`host_of` gives it. Raises :class:`SettingsError`."""
    host = entry.strip().lower().strip("[]").removesuffix(".")
    if not is_address(host) and not _HOST_NAME.fullmatch(host):
        raise SettingsError(
            f"{key}: {entry!r} is not a host name or an address; write it without scheme, port and wildcards, such as "
            "evalhub.example.org."
        )
    return host


def allowed_origin(entry: str, key: str = "service.allowed_origins") -> str:
    """An entry of ``allowed_origins`` as :func:`normal_origin` gives it. Raises :class:`SettingsError`."""
    origin = normal_origin(entry.strip().removesuffix("/"))
    if origin is None:
        raise SettingsError(
            f"{key}: {entry!r} is not an origin; write scheme, host and port without a path, such as "
            "https://ui.example.org. There is no wildcard."
        )
    return origin
