"""A program for the tests: writes jobs to the database that is named and prints each id once it is acknowledged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from evalhub_server.domain.record import with_changes
from evalhub_server.models.common import State
from evalhub_server.testing.builders import a_job
from evalhub_storage_sqlite.storage import SqliteStorage


async def main(path: Path) -> None:
    storage = SqliteStorage(path)
    await storage.open()
    print("open", flush=True)
    if "--wait" in sys.argv:
        sys.stdin.read()
        await storage.close()
        return

    if "--fail" in sys.argv:
        raise SystemExit("no close")

    async def write() -> None:
        while True:
            job = a_job(size=3, tags=("x",))
            await storage.add_job(job)
            await storage.update_job(job.id, None, lambda now: with_changes(now, state=State.RUNNING))
            print(job.id, flush=True)

    await asyncio.gather(*(write() for _ in range(4)))


asyncio.run(main(Path(sys.argv[1])))
