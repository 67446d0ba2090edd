"""A real PgBouncer in front of the database: one that pools sessions is transparent, one that pools transactions is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server.errors import StartupError
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.change_feed_contract import acquired, contains, following, read
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness import Config
from harness.pgbouncer import RunningPgBouncer, needs_pgbouncer
from harness.postgres import PASSWORD, RunningPostgres

pytestmark = needs_pgbouncer


@pytest.fixture
async def user(postgres: RunningPostgres, schema: str) -> str:
    """A role whose tables are in the test's schema, since PgBouncer refuses ``search_path`` in a URL."""
    name = f"pooled_{schema}"
    await postgres.sql(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
    await postgres.sql(f"ALTER ROLE {name} SET search_path = {schema}")
    return name


@pytest.mark.parametrize("shared", [True, False])
async def test_a_pooler_of_transactions_is_refused_with_the_remedy(
    postgres: RunningPostgres, user: str, shared: bool
) -> None:
    with RunningPgBouncer(postgres, user, "transaction") as pooler:
        storage = PostgresStorage(locate(pooler.url), shared=shared, patience_s=0)
        for attempt in (storage.open, storage.check):
            with pytest.raises(StartupError, match=r"pools transactions.*pool_mode = session"):
                await attempt()


async def test_a_pooler_of_sessions_is_transparent(postgres: RunningPostgres, user: str, opened) -> None:
    with RunningPgBouncer(postgres, user, "session") as pooler:
        pooled = PostgresStorage(locate(pooler.url), shared=True, patience_s=0)
        await pooled.check()
        await pooled.open()
        try:
            direct = await opened(shared=True)
            async with following(pooled) as feed:
                await direct.add_job(a_job(id="job"))
                await read(feed, contains("job"))
            await pooled.fenced(await acquired(pooled)).add_job(a_job(id="fenced"))
            assert (await direct.get_job("fenced", None)).id == "fenced"
            assert await direct.acquire_lease(60) is None
        finally:
            await pooled.close()


@pytest.mark.slow  # starts the command
async def test_check_reports_a_pooler_of_transactions(
    postgres: RunningPostgres, user: str, tmp_path: Path
) -> None:
    with RunningPgBouncer(postgres, user, "transaction") as pooler:
        config = Config(tmp_path / "config", database={"driver": "pgx", "url": pooler.url})
        command = [
            sys.executable,
            "-m",
            "evalhub_server",
            "check",
            "--configdir",
            str(config.folder),
            "--json",
        ]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    messages = [
        each["message"] for each in json.loads(done.stdout)["findings"] if each["severity"] == "error"
    ]
    assert [message for message in messages if "pool_mode = session" in message]
