"""The address of a model, as the adapter sees it: behind the sidecar."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def behind_sidecar(url: str, base_url: str) -> str:
    """``url`` with the sidecar's scheme and host, its own path and query, and no slash at the end."""
    if not url.strip():
        return ""
    sidecar, parts = urlsplit(base_url), urlsplit(url.strip())
    return urlunsplit((sidecar.scheme, sidecar.netloc, parts.path, parts.query, "")).removesuffix("/")
