"""The context of a request: its trace id and its identity (tenant and user), from the request headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from random import getrandbits
from typing import Any

from litestar import Request
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.engine.identity import Identity
from evalhub_server.models.provider import SYSTEM_OWNER

KEY = "evalhub"


class RequestContext(Struct, kw_only=True, frozen=True):
    """``trace`` is the request id; it comes back in the header and in error bodies.

    ``method`` is what was really sent; ``preflights`` says whether OPTIONS is answered.
    """

    trace: str
    identity: Identity
    method: str
    preflights: bool


def context(request: Request[Any, Any, Any]) -> RequestContext:
    return request.scope[KEY]  # type: ignore[literal-required]  # ours, beside ASGI's own keys


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


TENANT, USER = b"x-tenant", b"x-user"
PREFIX = "/api/v1/evaluations/"
NOBODY = Identity()
LONGEST = 253
REMEMBERED = 1024

# A tenant of a cluster is a namespace, so its name is an RFC 1123 label.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Identities:
    """Reads the two headers; outside of ``…/evaluations/`` they say nothing.

    ``required``: cluster mode, where both must be there and the tenant is the name of a namespace.
    """

    def __init__(self, *, required: bool) -> None:
        self._required = required
        self._checked = lru_cache(REMEMBERED)(self._check)

    def of(self, path: str, fields: Mapping[bytes, bytes]) -> Identity:
        """Raises :class:`ApiError` for a header that is missing or malformed."""
        if not path.startswith(PREFIX):
            return NOBODY
        tenant, user = fields.get(TENANT), fields.get(USER)
        if tenant is None and user is None and not self._required:
            return NOBODY
        return self._checked(tenant or b"", user or b"")

    def _check(self, tenant_field: bytes, user_field: bytes) -> Identity:
        tenant, user = _plain("X-Tenant", tenant_field), _plain("X-User", user_field)
        if self._required:
            if not tenant:
                raise problems.missing_header("missing_tenant_header", "X-Tenant")
            if not user:
                raise problems.missing_header("missing_user_header", "X-User")
            if not _NAMESPACE.fullmatch(tenant):
                raise problems.invalid_header(
                    "X-Tenant", "must be the name of a namespace: 1 to 63 of a-z, 0-9 and '-'"
                )
        if user == SYSTEM_OWNER:
            raise problems.invalid_header(
                "X-User", f"must not be '{SYSTEM_OWNER}', the owner of built-in resources"
            )
        return Identity(tenant=tenant, user=user)


def _plain(name: str, field: bytes) -> str:
    try:
        text = field.strip(b" \t").decode()
    except UnicodeDecodeError:
        raise problems.invalid_header(name, "is not UTF-8 text") from None
    if len(text) > LONGEST:
        raise problems.invalid_header(name, f"is longer than {LONGEST} characters")
    if not text.isprintable():
        raise problems.invalid_header(name, "has characters that cannot be printed")
    return text
