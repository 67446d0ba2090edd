"""Request headers that decide something: sent once, and harmless in answers and logs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import getrandbits

from evalhub_server.domain import problems

TRACE_HEADER = b"x-global-transaction-id"
ONCE = {
    name.lower().encode(): name
    for name in ("Host", "Origin", "Authorization", "X-Tenant", "X-User", "Sec-Fetch-Site")
}
_TRACE = re.compile(rb"[ -~]{1,256}")


def refuse_repeated(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Two values of one of these would let this server read one and a proxy in front of it the other."""
    seen: set[bytes] = set()
    for name, _value in headers:
        if name in ONCE:
            if name in seen:
                raise problems.invalid_header(ONCE[name], "was sent more than once")
            seen.add(name)


def trace_of(value: bytes | None) -> str:
    """The request id: the client's, if that is up to 256 printable ASCII characters, else a new one."""
    return value.decode("ascii") if value and _TRACE.fullmatch(value) else _new_trace()


def _new_trace() -> str:
    """A random UUID, version 4, in a fraction of the time of ``uuid.uuid4``: every request gets one, and it opens nothing."""
    h = f"{getrandbits(128):032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"
