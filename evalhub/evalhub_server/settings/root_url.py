"""The address of the server behind a proxy: ``service.root_url``."""

from __future__ import annotations

from urllib.parse import urlsplit

from evalhub_common.urls import normalize_origin, split_http_url
from evalhub_server.errors import SettingsError
from evalhub_server.settings.path_prefix import normalize_prefix


def check_root_url(url: str) -> None:
    """Raise :class:`SettingsError` unless the URL is empty, or http or https with a host and at most a plain path."""
    parts = split_http_url(url)
    if url and (
        parts is None
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or normalize_prefix(parts.path) is None
    ):
        raise SettingsError(
            f"service.root_url: {url!r} is not the address of a server; write scheme and host, and the path if there is one, "
            "such as https://evalhub.example.org/evalhub."
        )


def root_origin(url: str) -> str:
    """The origin of a valid ``root_url``; empty without one."""
    parts = urlsplit(url)
    return normalize_origin(f"{parts.scheme}://{parts.netloc}") or ""


def root_url_path(url: str) -> str:
    """The path of a valid ``root_url`` as a path prefix."""
    return normalize_prefix(urlsplit(url).path) or ""
