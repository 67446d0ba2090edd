"""Names of what the database has once for all schemas: advisory locks and channels of notifications."""

from __future__ import annotations

import hashlib

from msgspec import Struct


class Names(Struct, frozen=True):
    """Numbers of advisory locks and the channel of notifications, particular to the schema that has the tables."""

    server: int
    """Held by every server: shared, or exclusive to be the only one."""
    migration: int
    """Held while a server opens the database, so that one of them migrates it."""
    fence: int
    """Held shared by every transaction with a fenced write, and exclusive by a takeover."""
    housekeeping: int
    """Held by the transaction of one server that removes old changes or folds numbers of jobs."""
    channel: str

    @classmethod
    def of(cls, schema: str) -> Names:
        def number(purpose: str) -> int:
            digest = hashlib.sha256(f"evalhub {purpose}{schema}".encode()).digest()
            return int.from_bytes(digest[:8], "big", signed=True)

        return cls(
            server=number(""),
            migration=number("migration "),
            fence=number("fence "),
            housekeeping=number("pruning "),
            channel=f"evalhub_{number('changes ') & (2**63 - 1):x}",
        )
