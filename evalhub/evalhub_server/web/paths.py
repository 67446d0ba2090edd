"""Request paths, as they were sent and as they are routed."""

from __future__ import annotations

import html
import posixpath
from collections.abc import Mapping
from urllib.parse import quote, unquote

LONGEST_BYTES = 16 * 1024
"""The router remembers the paths that it has seen last, so they may not be of any size."""

SLASH = "\udc2f"
"""Stands for an encoded slash while a path is routed; no decoded text has it."""

_AS_SENT = "/%:@!$&'()*+,;=-._~"


def is_clean(raw_path: bytes) -> bool:
    """Has it neither ``//`` nor a segment of dots? Says no to a few clean ones, too: see :func:`cleaned`."""
    return b"//" not in raw_path and b"/." not in raw_path


def cleaned(raw_path: bytes) -> str:
    """``//`` and dot segments resolved; escapes stay as they are. It starts with one slash, never with two."""
    path = raw_path.decode("latin-1")
    # normpath keeps two leading slashes, which would name another host.
    clean = posixpath.normpath("/" + path.lstrip("/"))
    slash = clean != "/" and path.endswith("/")
    return quote(clean + "/" * slash, safe=_AS_SENT, encoding="latin-1")


def routed(raw_path: bytes) -> str:
    """Decoded segment by segment: an encoded slash is part of an id, as :data:`SLASH`, and does not separate."""
    segments = raw_path.decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("/", SLASH) for segment in segments)


def restored(parameters: Mapping[str, str]) -> dict[str, str]:
    """Parameters of a routed path, with the slashes that they were sent with."""
    return {name: value.replace(SLASH, "/") for name, value in parameters.items()}


def redirect_page(location: str) -> bytes:
    return f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'.encode()
