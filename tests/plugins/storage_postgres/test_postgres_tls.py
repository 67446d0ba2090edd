"""Connections with TLS, as ``sslmode`` asks for them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_server.errors import StartupError
from evalhub_server.testing.builders import a_job
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from harness.postgres import RunningPostgres, needs_postgres

pytestmark = needs_postgres


@pytest.fixture(scope="module")
def server(certificate: Path) -> Iterator[RunningPostgres]:
    with RunningPostgres(certificate) as running:
        yield running


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A certificate that has nothing to do with the server."""
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=another -out"
    subprocess.run(["openssl", *words.split(), str(tmp_path / "crt")], check=True, capture_output=True)
    return tmp_path / "crt"


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
    server: RunningPostgres, certificate: Path, options: str, encrypted: bool
) -> None:
    storage = storage_at(server, options.format(crt=certificate / "crt"), "localhost")
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
    server: RunningPostgres, certificate: Path, stranger: Path, tmp_path: Path, options: str, fragment: str
) -> None:
    files = {"crt": certificate / "crt", "other": stranger, "folder": tmp_path}
    storage = storage_at(server, options.format(**files))
    with pytest.raises(StartupError, match=fragment):
        await storage.open()
