"""Who asks: ``X-Tenant`` and ``X-User``, which a proxy in front has authenticated (cluster) or a client just says (local)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from evalhub_server.domain import problems
from evalhub_server.engine.identity import Identity
from evalhub_server.models.provider import SYSTEM_OWNER

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
