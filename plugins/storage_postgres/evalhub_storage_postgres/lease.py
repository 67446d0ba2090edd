"""The lease: one row with epoch, holder and expiry, and the fence that writes under it check."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from evalhub_server.plugins import LeadershipLost, Lease
from evalhub_storage_postgres.control import LEASE

if TYPE_CHECKING:
    from evalhub_storage_postgres.control import Connection
    from evalhub_storage_postgres.names import Names

_CURRENT = """
    SELECT epoch, holder, extract(epoch FROM expires_at - clock_timestamp())::float8 AS expires_in_s
    FROM evalhub_lease WHERE expires_at > clock_timestamp()
"""
_ACQUIRE = """
    UPDATE evalhub_lease SET epoch = epoch + 1, holder = $1, expires_at = clock_timestamp() + make_interval(secs => $2)
    WHERE holder = $1 OR expires_at <= clock_timestamp() RETURNING epoch
"""
_RENEW = """
    UPDATE evalhub_lease SET expires_at = clock_timestamp() + make_interval(secs => $2)
    WHERE epoch = $1 AND expires_at > clock_timestamp() RETURNING true
"""
_RELEASE = "UPDATE evalhub_lease SET expires_at = clock_timestamp() WHERE epoch = $1 RETURNING true"
# A takeover waits for fenced writes in flight: at most so long, then the next attempt does.
_WAIT = "SET LOCAL lock_timeout = '1s'"


def begin_fenced(lock: int, lease: Lease) -> str:
    """SQL whose status is ``SELECT 1`` if the lease is valid, and then stays so until the end of the transaction."""
    return (
        f"SELECT pg_advisory_xact_lock_shared({lock}); "  # noqa: S608  two integers
        f"SELECT FROM evalhub_lease WHERE epoch = {lease.epoch} AND expires_at > clock_timestamp()"
    )


def lost(operation: str, lease: Lease) -> LeadershipLost:
    return LeadershipLost(
        f"{operation} failed: server {lease.holder} no longer leads, since its lease {lease.epoch} has expired, or another "
        "server has acquired it."
    )


async def current(connection: Connection) -> Lease | None:
    row = await connection.fetchrow(_CURRENT)
    return None if row is None else Lease(**dict(row))


async def acquire(connection: Connection, names: Names, server_id: str, duration_s: float) -> Lease | None:
    lease = await current(connection)
    if lease is not None and lease.holder != server_id:
        return None
    try:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute(_WAIT)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", names.fence)
            epoch: int | None = await connection.fetchval(_ACQUIRE, server_id, duration_s)
            if epoch is None:
                return None
            await _notify(connection, names)
    except asyncpg.LockNotAvailableError:
        return None
    return Lease(epoch=epoch, holder=server_id, expires_in_s=duration_s)


async def renew(connection: Connection, lease: Lease, duration_s: float) -> Lease:
    if not await connection.fetchval(_RENEW, lease.epoch, duration_s):
        raise lost("Renewing the lease", lease)
    return Lease(epoch=lease.epoch, holder=lease.holder, expires_in_s=duration_s)


async def release(connection: Connection, names: Names, lease: Lease) -> None:
    async with connection.transaction():
        if await connection.fetchval(_RELEASE, lease.epoch):
            await _notify(connection, names)


async def _notify(connection: Connection, names: Names) -> None:
    await connection.execute("SELECT pg_notify($1, $2)", names.channel, LEASE)
