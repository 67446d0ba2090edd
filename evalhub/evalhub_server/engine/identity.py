"""Who asks."""

from __future__ import annotations

from msgspec import Struct


class Identity(Struct, kw_only=True, frozen=True):
    """Who asks. ``tenant`` empty: nobody was named, which only local mode allows and which sees everything."""

    tenant: str = ""
    user: str = ""

    @property
    def scope(self) -> str | None:
        """The tenant that storage is asked for; None means all."""
        return self.tenant or None
