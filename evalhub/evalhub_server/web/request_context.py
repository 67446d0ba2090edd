"""The context of a request: its trace id and its identity (tenant and user), from the request headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from random import getrandbits

from msgspec import Struct

from evalhub_server.domain import request_problems
from evalhub_server.engine.identity import Identity
from evalhub_server.models.provider import SYSTEM_OWNER
from evalhub_server.web.body_memory import BodyMemory

CONTEXT_KEY = "evalhub"
"""The key of the context in the ASGI scope."""
REFUSAL_KEY = "evalhub.refusal"
"""The key of the message with which a route refused the request, in the ASGI scope."""


class RequestContext(Struct, kw_only=True, frozen=True):
    """``trace_id`` is the request id; responses return it in a header and in error bodies.

    ``fields`` are the request's headers by lower-case name, the first of repeated ones.
    """

    trace_id: str
    identity: Identity
    body_memory: BodyMemory
    fields: Mapping[bytes, bytes] = {}


TRACE_HEADER = b"x-global-transaction-id"
SINGLE_VALUED = {
    name.lower().encode(): name
    for name in ("Host", "Origin", "Authorization", "X-Tenant", "X-User", "Sec-Fetch-Site", "Idempotency-Key")
}
_TRACE_ID = re.compile(rb"[ -~]{1,256}")
_RANDOM_BITS = 0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF
_VERSION_4 = 0x00000000_0000_4000_8000_000000000000


def refuse_repeated(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise :class:`ApiError` if a header of :data:`SINGLE_VALUED` occurs twice.

    This server might read one value, and a proxy in front of it the other.
    """
    seen: set[bytes] = set()
    for name, _value in headers:
        if name in SINGLE_VALUED:
            if name in seen:
                raise request_problems.invalid_header(SINGLE_VALUED[name], "was sent more than once")
            seen.add(name)


def trace_id_of(value: bytes | None) -> str:
    """The request id: the client's, if that is up to 256 printable ASCII characters, otherwise a new one."""
    return value.decode("ascii") if value and _TRACE_ID.fullmatch(value) else _new_trace_id()


def _new_trace_id() -> str:
    """A random UUID, version 4, in a fraction of the time of ``uuid.uuid4``. It protects nothing."""
    h = (getrandbits(128) & _RANDOM_BITS | _VERSION_4).to_bytes(16).hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


TENANT, USER = b"x-tenant", b"x-user"
PREFIX = "/api/v1/evaluations/"
ANONYMOUS = Identity()
MAX_LENGTH = 253
CACHE_SIZE = 1024

# A tenant of a cluster is a namespace, so its name is an RFC 1123 label.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class IdentityReader:
    """Reads the identity from ``X-Tenant`` and ``X-User``, which count below ``/api/v1/evaluations/`` only.

    ``required``: cluster mode, where both are mandatory and the tenant is the name of a namespace.
    """

    def __init__(self, *, required: bool) -> None:
        self._required = required
        self._validated = lru_cache(CACHE_SIZE)(self._validate)

    def read(self, path: str, fields: Mapping[bytes, bytes]) -> Identity:
        """Raises :class:`ApiError` for a header that is missing or malformed."""
        if not path.startswith(PREFIX):
            return ANONYMOUS
        tenant, user = fields.get(TENANT), fields.get(USER)
        if tenant is None and user is None and not self._required:
            return ANONYMOUS
        return self._validated(tenant or b"", user or b"")

    def _validate(self, tenant_field: bytes, user_field: bytes) -> Identity:
        tenant, user = _plain("X-Tenant", tenant_field), _plain("X-User", user_field)
        if self._required:
            if not tenant:
                raise request_problems.missing_header("missing_tenant_header", "X-Tenant")
            if not user:
                raise request_problems.missing_header("missing_user_header", "X-User")
            if not _NAMESPACE.fullmatch(tenant):
                raise request_problems.invalid_header(
                    "X-Tenant", "must be the name of a namespace: 1 to 63 of a-z, 0-9 and '-'"
                )
        if user == SYSTEM_OWNER:
            raise request_problems.invalid_header(
                "X-User", f"must not be '{SYSTEM_OWNER}', the owner of built-in resources"
            )
        return Identity(tenant=tenant, user=user)


def _plain(name: str, field: bytes) -> str:
    """The text of a header field without surrounding blanks. Raises :class:`ApiError` if it is not printable."""
    try:
        text = field.strip(b" \t").decode()
    except UnicodeDecodeError:
        raise request_problems.invalid_header(name, "is not UTF-8 text") from None
    if len(text) > MAX_LENGTH:
        raise request_problems.invalid_header(name, f"is longer than {MAX_LENGTH} characters")
    if not text.isprintable():
        raise request_problems.invalid_header(name, "has characters that cannot be printed")
    return text
