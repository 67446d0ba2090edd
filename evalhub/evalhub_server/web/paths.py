"""Request paths: as they were sent, cleaned, and as Litestar routes them."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from evalhub_common.callback_tokens import redact_callback_path
from evalhub_server.domain import problems

METRICS_PATH = "/metrics"
MAX_PATH_BYTES = 16 * 1024
"""The longest path: Litestar's router caches the last paths, so their size has a limit."""

MAX_CACHED = 256
"""Characters of the longest URI whose shown form is cached."""

SLASH = "\udc2f"
"""Stands for an encoded slash, which is part of an id, while Litestar splits a path at ``/``. No decoded text has it."""

PREFIX_KEY = "evalhub.prefix"
"""The key of the path prefix in the ASGI scope; see :mod:`evalhub_server.web.path_prefix`."""

_UNQUOTED = "/%:@!$&'()*+,;=-._~"


def request_uri(scope: Any) -> str:
    """Path and query as they were sent, without a path prefix."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def shown_uri(scope: Any) -> str:
    """Path and query as they were sent, without callback tokens: for logs and messages."""
    uri = request_uri(scope)
    return _redacted(uri) if len(uri) <= MAX_CACHED else redact_callback_path(uri)


_redacted = lru_cache(1024)(redact_callback_path)  # clients poll the same few URIs


def url_prefix(scope: Any) -> str:
    """The path prefix under which the client reaches the server, without a slash at its end; often empty."""
    return scope.get(PREFIX_KEY, "")


def link_to(scope: Any) -> str:
    """Path and query of the request as the client sent them, whether or not a proxy removed a prefix."""
    return url_prefix(scope) + request_uri(scope)


def is_clean(raw_path: bytes) -> bool:
    """Whether a path has neither ``//`` nor a segment that begins with a dot. A few clean paths have such a segment."""
    return b"//" not in raw_path and b"/." not in raw_path


def clean(raw_path: bytes) -> str:
    """The path with ``//`` and dot segments resolved and escapes as they are. It starts with exactly one slash."""
    path = raw_path.decode("latin-1")
    # normpath keeps two leading slashes, which would name another host.
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    slash = cleaned != "/" and path.endswith("/")
    return quote(cleaned + "/" * slash, safe=_UNQUOTED, encoding="latin-1")


def routing_path(raw_path: bytes) -> str:
    """The path for Litestar's router: decoded segment by segment, with :data:`SLASH` for encoded slashes."""
    segments = raw_path.decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("/", SLASH) for segment in segments)


def restore_slashes(parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a :func:`routing_path` with real slashes."""
    return {name: value.replace(SLASH, "/") for name, value in parameters.items()}


def index_of(text: str) -> int:
    """The benchmark index in a path. Raises :class:`ApiError`."""
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise problems.query_parameter_invalid("benchmark_index", "non-negative integer", text)
    return int(text)


def redirect_page(location: str) -> bytes:
    """The body of a redirect."""
    return f'<a href="{html.escape(location)}">Temporary Redirect</a>.\n\n'.encode()
