"""Connections with TLS, as ``sslmode`` asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_server.errors import StartupError
from evalhub_server.testing.builders import a_job
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.certificates import Certificate, certificate
from harness.postgres import RunningPostgres, needs_postgres

pytestmark = needs_postgres


@pytest.fixture(scope="module")
def server(localhost: Certificate) -> Iterator[RunningPostgres]:
    with RunningPostgres(localhost) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A certificate that has nothing to do with the server."""
    return certificate(tmp_path, "another").crt


def storage_at(server: RunningPostgres, options: str, host: str = "127.0.0.1") -> PostgresStorage:
    url = server.url(options=options).replace("127.0.0.1", host)
    return PostgresStorage(locate(url), patience_s=0)


@pytest.mark.parametrize(
    ("options", "encrypted"),
    [
        ("sslmode=disable", False),
        ("sslmode=prefer", True),
        ("sslmode=require", True),
        ("sslmode=verify-ca&sslrootcert={crt}", True),
        ("sslmode=verify-full&sslrootcert={crt}", True),
    ],
)
async def test_what_sslmode_asks_for_is_what_there_is(
    server: RunningPostgres, localhost: Certificate, options: str, encrypted: bool
) -> None:
    storage = storage_at(server, options.format(crt=localhost.crt), "localhost")
    await storage.open()
    try:
        await storage.add_job(a_job())
        rows = await server.sql(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1",
            "eval-hub-server",
        )
        assert {row["ssl"] for row in rows} == {encrypted}
    finally:
        await storage.close()


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ("sslmode=verify-full&sslrootcert={crt}", "Check sslmode and sslrootcert"),  # it is localhost's
        ("sslmode=verify-ca&sslrootcert={other}", "Check sslmode and sslrootcert"),
        ("sslmode=verify-ca&sslrootcert={folder}/nowhere", "Check the files that database.url names"),
    ],
)
async def test_a_certificate_that_cannot_be_trusted_keeps_the_server_from_starting(
    server: RunningPostgres,
    localhost: Certificate,
    stranger: Path,
    tmp_path: Path,
    options: str,
    fragment: str,
) -> None:
    files = {"crt": localhost.crt, "other": stranger, "folder": tmp_path}
    storage = storage_at(server, options.format(**files))
    with pytest.raises(StartupError, match=fragment):
        await storage.open()
