"""Detection of poolers that give the statements of one connection to several sessions of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from evalhub_server.plugins import StartupError
from evalhub_storage_postgres.address import Address

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection, Session

_ROUNDS = 3
_SESSION = "SELECT pg_backend_pid()"


async def check_sessions(first: Connection, second: Connection | Session, address: Address) -> None:
    """Check that each of two connections has a session of its own, while the second is in a transaction.

    A pooler of transactions gives the idle session of the first to the transaction of the second.

    Raises:
        StartupError: they have not. The text names the remedy.
    """
    for _ in range(_ROUNDS):
        try:
            before: int = await first.fetchval(_SESSION)
            async with second.transaction():
                inside: int = await second.fetchval(_SESSION)
                same = inside != before and await first.fetchval(_SESSION) == before
        except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
            same = False  # a statement that was prepared in another session
        if not same:
            raise StartupError(
                f"The database {address.redacted_url} is behind a pooler that pools transactions. Locks and notifications of "
                "this server need sessions: let the pooler pool sessions (pool_mode = session in PgBouncer), or name the "
                "database server itself in database.url."
            )
