"""Headers: those that are forwarded, and those of a single connection."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from multidict import CIMultiDict, CIMultiDictProxy

TRANSACTION_ID = "X-Global-Transaction-Id"

_CONNECTION_HEADERS = frozenset(
    (
        "connection",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
"""RFC 9110, section 7.6.1, and those that each client sets itself."""


def forwarded_headers(headers: CIMultiDictProxy[str], without: Collection[str] = ()) -> CIMultiDict[str]:
    """The headers to forward, repeated ones included, except those of ``without`` (lower case)."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    dropped = _CONNECTION_HEADERS | named | set(without)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def transaction_id(headers: CIMultiDictProxy[str]) -> str:
    """The client's id, or a new one."""
    return headers.get(TRANSACTION_ID) or str(uuid.uuid4())
