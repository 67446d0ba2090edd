"""Identity of a request: tenant and user."""

from __future__ import annotations

from msgspec import Struct


class Identity(Struct, kw_only=True, frozen=True):
    """The tenant and user of a request. An empty ``tenant``, permitted in local mode only, sees all tenants."""

    tenant: str = ""
    user: str = ""

    @property
    def scope(self) -> str | None:
        """The tenant to pass to the storage; None means all tenants."""
        return self.tenant or None
