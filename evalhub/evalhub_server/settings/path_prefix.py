"""Validation of path prefixes and of the networks of trusted proxies."""

from __future__ import annotations

import ipaddress
import re

from evalhub_server.errors import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_LENGTH = 512
# No dot segments: a client would remove them from a link.
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~!$&'()*+;=:@-]+)+")


def normalize_prefix(text: str) -> str | None:
    """A path prefix without a slash at its end, an empty one for ``/``; None if it is not a plain path."""
    prefix = text.strip().rstrip("/")
    return prefix if not prefix or (len(prefix) <= MAX_LENGTH and _PREFIX.fullmatch(prefix)) else None


def root_path(text: str, key: str = "service.root_path") -> str:
    """Normalize ``root_path``. Raises :class:`SettingsError`."""
    prefix = normalize_prefix(text)
    if prefix is None:
        raise SettingsError(
            f"{key}: {text!r} is not a path; write it with a slash in front and without escapes, such as /evalhub."
        )
    return prefix


def proxy_network(entry: str, key: str = "service.trusted_proxies") -> Network:
    """An entry of ``trusted_proxies``. Raises :class:`SettingsError`."""
    try:
        return ipaddress.ip_network(entry.strip())
    except ValueError:
        raise SettingsError(
            f"{key}: {entry!r} is neither an address nor a network; write 10.0.0.5 or 10.0.0.0/8, for example."
        ) from None
