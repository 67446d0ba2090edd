"""The path prefix under which clients reach the server behind a proxy.

The prefix is ``service.root_path``, or the path of ``service.root_url``, or the ``X-Forwarded-Prefix`` of a proxy in ``service.trusted_proxies``. Proxies that keep
the prefix in the path of a request, and proxies that remove it, are both supported: it is removed here, and links that the
server returns begin with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from evalhub_server.settings import ServiceSettings
from evalhub_server.settings.path_prefix import MAX_LENGTH, normalize_prefix, root_path
from evalhub_server.settings.root_url import root_url_path
from evalhub_server.web.credentials import CALLBACK
from evalhub_server.web.own_origin import CACHE_SIZE, TrustedProxies
from evalhub_server.web.paths import PREFIX_KEY

HEADER = b"x-forwarded-prefix"


class PathPrefix:
    """Finds the prefix of a request, if one ``is_used``. ``routes`` are the paths of all routes.

    A prefix is removed only if a route's first segment follows it: with ``root_path: /api``, the path ``/api/v1/health`` is
    complete, and ``/api/api/v1/health`` has the prefix.
    """

    def __init__(self, service: ServiceSettings, routes: Iterable[str]) -> None:
        self._root_path = root_path(service.root_path) or root_url_path(service.root_url)
        self._proxies = TrustedProxies(service.trusted_proxies)
        self.is_used = bool(self._root_path or self._proxies)
        self._first_segments = {_first_segment(path.encode()) for path in (*routes, CALLBACK.decode())}
        self._forwarded = lru_cache(CACHE_SIZE)(_forwarded)

    def apply(self, scope: Any, fields: Mapping[bytes, bytes]) -> None:
        """Note the prefix of the request in its scope, and remove it from the path."""
        prefix = self._root_path
        header = fields.get(HEADER)
        if header is not None and self._proxies.sent(scope):
            forwarded = self._forwarded(header)
            prefix = prefix if forwarded is None else forwarded
        if prefix:
            scope[PREFIX_KEY] = prefix
            raw_path = self.without(prefix, scope["raw_path"])
            if raw_path != scope["raw_path"]:
                scope["raw_path"] = raw_path
                scope["path"] = raw_path.decode("latin-1")  # a path with escapes is decoded later

    def without(self, prefix: str, raw_path: bytes) -> bytes:
        """The path without its prefix, if it has one."""
        start = prefix.encode()
        rest = raw_path.removeprefix(start)
        if not raw_path.startswith(start):
            return raw_path
        if rest in (b"", b"/"):
            return b"/"
        return rest if rest.startswith(b"/") and _first_segment(rest) in self._first_segments else raw_path


def _first_segment(raw_path: bytes) -> bytes:
    return raw_path.lstrip(b"/").partition(b"/")[0]


def _forwarded(header: bytes) -> str | None:
    """The prefix that the header names; None if it is malformed. Proxies in a row append theirs with a comma."""
    if len(header) > MAX_LENGTH:
        return None
    parts = [normalize_prefix(part) for part in header.decode("latin-1").split(",")]
    return None if None in parts else "".join(part for part in parts if part)
