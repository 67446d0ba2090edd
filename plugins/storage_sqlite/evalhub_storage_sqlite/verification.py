"""Verification of a database after an unclean stop, on a connection of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import structlog

from evalhub_server.plugins import StartupError
from evalhub_storage_sqlite.connection import Connection, connect_reader
from evalhub_storage_sqlite.faults import is_damage

START_DELAY_S = 2.0
"""How long a start waits for the verification; a large database is verified further while the server runs."""

log = structlog.get_logger()


class Verification:
    """One run of ``PRAGMA quick_check``: pages, tables and their order, but not whether indices match.

    ``damage`` is empty, or describes what was found and what to do.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self.damage = ""

    async def start(self) -> None:
        """Begin, and wait for the result for a limited time. The writer must be open.

        Raises:
            StartupError: the database is damaged.
            sqlite3.Error: it cannot be read for another reason.
        """
        self._connection = await connect_reader(self._path)
        self._task = asyncio.create_task(self._run(self._connection), name="sqlite-verification")
        done, _ = await asyncio.wait([self._task], timeout=START_DELAY_S)
        if not done:
            log.warning(
                "The last server did not close the database; it is being verified in the background",
                path=str(self._path),
            )
            return
        await self._task
        if self.damage:
            raise StartupError(self.damage)

    async def stop(self) -> bool:
        """Stop a verification that is not complete; returns whether it was complete and found no damage. Idempotent."""
        if self._connection is None or self._task is None:
            return False
        complete = self._task.done()
        if not complete:
            await self._connection.interrupt()
        (error,) = await asyncio.gather(self._task, return_exceptions=True)
        return complete and error is None and not self.damage

    async def close(self) -> None:
        """Close the connection, which only reads."""
        if self._connection is not None:
            await self._connection.close()

    async def _run(self, connection: Connection) -> None:
        try:
            finding = await connection.call(_quick_check)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                log.warning("The database could not be verified", path=str(self._path), error=str(error))
                raise
            finding = str(error)
        if finding:
            self.damage = damaged(self._path, finding)
            log.error("The database is damaged", path=str(self._path), finding=finding)
        else:
            log.info("The database was verified after an unclean stop", path=str(self._path))


def damaged(path: Path, finding: str) -> str:
    """Return the message about a damaged database."""
    return (
        f"The database {path} is damaged: {finding}. Restore {path.name} from a backup and remove {path.name}-wal and "
        f"{path.name}-shm. Without a backup, save what can be read with: sqlite3 {path} .recover > recovered.sql; or move "
        "the three files away to start with an empty database. Job directories and their logs are not affected."
    )


def _quick_check(connection: sqlite3.Connection) -> str:
    """Return the first problem on one line; empty if there is none."""
    (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return "" if finding == "ok" else " ".join(str(finding).replace("*** in database main ***", "").split())
