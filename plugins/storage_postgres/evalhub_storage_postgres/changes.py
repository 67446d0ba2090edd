"""The table of changes: each write notes its record there, and feeds read what other servers noted.

A position in the feed is a snapshot of PostgreSQL. What has committed since is exactly what is visible now and was not
visible in that snapshot, whatever the order in which transactions began and committed: none is left out because it was slow,
and none waits for a slow one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from evalhub_server.plugins import CommittedChange, FeedItem, Gap
from evalhub_storage_postgres.search import original

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection

KEPT_S = 600
"""How long changes are kept."""
MAX_BEHIND_S = 300.0
"""A position older than this is a gap. Shorter, since a change is noted some time before its commit."""
MAX_ITEMS = 10_000
"""More changes than this at once are a gap."""

PRUNE = f"DELETE FROM evalhub_changes WHERE noted_at < clock_timestamp() - interval '{KEPT_S} s'"  # noqa: S608  no value
# Rows of a database that was restored from a dump: their transactions have not happened here.
FORGET = "DELETE FROM evalhub_changes WHERE xid >= pg_snapshot_xmax(pg_current_snapshot())"
_READ = """
    SELECT pg_current_snapshot()::text AS snapshot, extract(epoch FROM clock_timestamp())::float8 AS moment, change.*
    FROM (SELECT true) AS always LEFT JOIN (
        SELECT sequence, kind, id, tenant, deleted, writer FROM evalhub_changes
        WHERE (xid >= $1::text::xid8 OR xid = ANY($2::text[]::xid8[]))
            AND xid < pg_snapshot_xmax(pg_current_snapshot()) AND writer IS DISTINCT FROM $3
        ORDER BY sequence LIMIT $4
    ) AS change ON true ORDER BY sequence
"""
_NOW = "SELECT pg_current_snapshot()::text, extract(epoch FROM clock_timestamp())::float8"
_POSITION = re.compile(r"\d{1,20}:(\d{1,20}):((?:\d{1,20}(?:,\d{1,20})*)?)@(\d{1,12}(?:\.\d+)?)")


def noting(statement: str, kind: str, *, deleted: bool = False, also: str = "") -> str:
    """Extend a statement that writes rows with ``id`` and ``tenant``: it notes each, and returns the new version of its row.

    ``also`` is a statement that it executes besides, over the rows ``written``.
    """
    more = f", more AS ({also})" if also else ""
    return (
        f"WITH written AS ({statement} RETURNING {kind} AS kind, id, tenant, xmin::text AS version), "  # noqa: S608  no values
        "noted AS (INSERT INTO evalhub_changes (kind, id, tenant, deleted) "
        f"SELECT kind, id, tenant, {deleted} FROM written){more} SELECT version FROM written"
    )


class Position(Struct, frozen=True):
    """A snapshot, and the seconds of the database's clock when it was taken."""

    snapshot: str
    moment: float

    def __str__(self) -> str:
        return f"{self.snapshot}@{self.moment}"

    @property
    def next_transaction(self) -> int:
        """The lowest number of a transaction that had not begun."""
        return int(self.snapshot.split(":")[1])

    @property
    def in_progress(self) -> list[str]:
        return [number for number in self.snapshot.split(":")[2].split(",") if number]

    @classmethod
    def parse(cls, text: str | None) -> Position | None:
        """Return None if it is no position."""
        if text is None or not _POSITION.fullmatch(text):
            return None
        snapshot, _, moment = text.partition("@")
        return cls(snapshot, float(moment))

    def reaches(self, newer: Position) -> bool:
        """Whether all changes between the two are still there; not after a restoration of an earlier database."""
        return newer.moment - self.moment <= MAX_BEHIND_S and newer.next_transaction >= self.next_transaction


async def read(
    connection: Connection, after: Position | None, reader: str
) -> tuple[Position, Sequence[FeedItem]]:
    """Return the position now, and what servers other than ``reader`` have committed since ``after``."""
    if after is None:
        now = Position(*await connection.fetchrow(_NOW) or ())
        return now, [Gap(position=str(now))]
    rows = await connection.fetch(
        _READ, str(after.next_transaction), after.in_progress, reader, MAX_ITEMS + 1
    )
    now = Position(rows[0]["snapshot"], rows[0]["moment"])
    changes = [row for row in rows if row["sequence"] is not None]
    if len(changes) > MAX_ITEMS or not after.reaches(now):
        return now, [Gap(position=str(now))]
    return now, _items(changes, after, now)


def _items(rows: Sequence[Any], after: Position, now: Position) -> list[FeedItem]:
    items: list[FeedItem] = []
    for row in rows:
        record_id, tenant = original(row["id"]), original(row["tenant"])
        if record_id is None or tenant is None:  # shortened
            return [Gap(position=str(now))]
        # All were committed in one interval, so only after the last is it certain that nothing is left.
        position = now if row is rows[-1] else after
        items.append(
            CommittedChange(
                kind=row["kind"],
                id=record_id,
                tenant=tenant,
                deleted=row["deleted"],
                writer=row["writer"] or "",
                position=str(position),
            )
        )
    return items
