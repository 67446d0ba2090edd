"""Validation of allowed hosts and origins."""

from __future__ import annotations

import re

from evalhub_common.addresses import is_address
from evalhub_common.urls import normalize_origin
from evalhub_server.errors import SettingsError

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")


def allowed_host(entry: str, key: str = "service.allowed_hosts") -> str:
    """Normalize an entry of ``allowed_hosts`` like :func:`~evalhub_common.urls.host_of`. Raises :class:`SettingsError`."""
    host = entry.strip().lower().strip("[]").removesuffix(".")
    if not is_address(host) and not _HOST_NAME.fullmatch(host):
        raise SettingsError(
            f"{key}: {entry!r} is not a host name or an address; write it without scheme, port and wildcards, such as "
            "evalhub.example.org."
        )
    return host


def allowed_origin(entry: str, key: str = "service.allowed_origins") -> str:
    """Normalize an entry of ``allowed_origins``. Raises :class:`SettingsError`."""
    origin = normalize_origin(entry.strip().removesuffix("/"))
    if origin is None:
        raise SettingsError(
            f"{key}: {entry!r} is not an origin; write scheme, host and port without a path, such as "
            "https://ui.example.org. There is no wildcard."
        )
    return origin
