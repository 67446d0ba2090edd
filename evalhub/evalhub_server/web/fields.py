"""Request headers that decide something: sent once, and harmless in answers and logs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from evalhub_server.domain import problems
from evalhub_server.errors import ApiError

TRACE_HEADER = b"x-global-transaction-id"
LONGEST_TRACE = 256
ONCE = {
    name.lower().encode(): name
    for name in (
        "Host",
        "Origin",
        "Authorization",
        "X-Tenant",
        "X-User",
        "X-Global-Transaction-Id",
        "Sec-Fetch-Site",
    )
}
_CONTROLS = bytes([*range(32), 127])


def refuse_repeated(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Two values of one of these would let this server read one and a proxy in front of it the other."""
    seen: set[bytes] = set()
    for name, _value in headers:
        if name in ONCE:
            if name in seen:
                raise problems.invalid_header(ONCE[name], "was sent more than once")
            seen.add(name)


def is_trace(value: bytes) -> bool:
    """Can it be the request id? Any text without control characters, up to 256 bytes."""
    return len(value) <= LONGEST_TRACE and len(value.translate(None, _CONTROLS)) == len(value)


def invalid_trace() -> ApiError:
    return problems.invalid_header(
        ONCE[TRACE_HEADER], f"is longer than {LONGEST_TRACE} bytes or has control characters"
    )


def new_trace() -> str:
    """A random UUID, version 4, in half the time of ``uuid.uuid4``: every request gets one."""
    h = os.urandom(16).hex()
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
