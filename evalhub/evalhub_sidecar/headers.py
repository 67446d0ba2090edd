"""Which headers go through, and which belong to one connection only."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from multidict import CIMultiDict, CIMultiDictProxy

TRANSACTION_ID = "X-Global-Transaction-Id"

_OF_ONE_CONNECTION = frozenset(
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
"""RFC 9110, section 7.6.1, and what each side has to say for itself."""


def passed_on(headers: CIMultiDictProxy[str], without: Collection[str] = ()) -> CIMultiDict[str]:
    """All that may go to the other side, repeated headers included. ``without`` is in lower case."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    dropped = _OF_ONE_CONNECTION | named | set(without)
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in dropped)


def transaction_id(headers: CIMultiDictProxy[str]) -> str:
    """The client's, or a new one."""
    return headers.get(TRANSACTION_ID) or str(uuid.uuid4())
