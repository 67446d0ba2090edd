"""Limit of the memory for the request bodies of all requests together."""

from __future__ import annotations

from typing import Any

from evalhub_server.domain import problems

_KEY = "evalhub.body_bytes"
"""The key of the bytes that a request has reserved, in the ASGI scope."""


class BodyMemory:
    """Counts the bytes of bodies from their arrival until the response; ``limit_bytes`` -1 is no limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0

    def reserve(self, scope: Any, size_bytes: int) -> None:
        """Add to what the request has reserved. Raises :class:`ApiError` (503) above the limit."""
        self._used_bytes += size_bytes
        scope[_KEY] = scope.get(_KEY, 0) + size_bytes
        if 0 <= self._limit_bytes < self._used_bytes:
            raise problems.too_many_request_bodies(self._limit_bytes)

    def release(self, scope: Any) -> None:
        """Release what the request has reserved."""
        self._used_bytes -= scope.get(_KEY, 0)
