"""A real PostgreSQL server: Debian's, in a folder of its own, on a free loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import pytest

from harness.certificates import Certificate
from harness.waiting import free_port, wait_until

USER, PASSWORD = "evalhub", "p:ss/word of a server"
_QUOTED = "p%3Ass%2Fword%20of%20a%20server"
_numbers = count(1)


def _program_folder() -> Path | None:
    """Debian keeps the server's programs off the PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


PROGRAMS = _program_folder()

needs_postgres = pytest.mark.skipif(
    PROGRAMS is None, reason="needs a PostgreSQL server (on Debian: apt-get install postgresql)"
)


def unprivileged() -> dict[str, Any]:
    """Arguments of :class:`subprocess.Popen` for programs that refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class RunningPostgres:
    """A context manager. Its data are not synced to the disk, which makes it quick; :meth:`stop` keeps them.

    ``tls``: what to speak TLS with.
    """

    def __init__(self, tls: Certificate | None = None) -> None:
        self._tls = tls
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="evalhub-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as = unprivileged()
        if self._as:
            os.chown(self._folder, self._as["user"], self._as["group"])

    def url(
        self, schema: str = "public", *, password: str = _QUOTED, options: str = "sslmode=disable"
    ) -> str:
        return f"postgres://{USER}:{password}@127.0.0.1:{self.port}/postgres?{options}&search_path={schema}"

    async def sql(self, statement: str, *values: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url())
        try:
            return await connection.fetch(statement, *values)
        finally:
            await connection.close()

    async def new_schema(self) -> str:
        """Create an empty schema."""
        name = f"s{next(_numbers)}"
        await self.sql(f"CREATE SCHEMA {name}")
        return name

    async def cut_connections(self, where: str = "true") -> int:
        """Terminate the connections of other clients, as an administrator or a failover does; returns their number."""
        rows = await self.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608 - a test's own words
            f" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND {where}"
        )
        return len(rows)

    def __enter__(self) -> Self:
        try:
            password = self._folder / "password"
            password.write_text(PASSWORD)
            password.chmod(0o644)
            self._run(
                "initdb", "-D", "data", "-U", USER, "--pwfile=password", "-A", "scram-sha-256", "-E", "UTF8",
                "--no-locale", "--no-sync",
            )  # fmt: skip
            for file in self._tls or ():
                copy = Path(shutil.copy(file, self._folder))
                copy.chmod(0o600)
                if self._as:
                    os.chown(copy, self._as["user"], self._as["group"])
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        assert PROGRAMS is not None
        options = (
            f"port={self.port} listen_addresses=127.0.0.1 fsync=off unix_socket_directories={self._folder}"
        )
        if self._tls:
            options += f" ssl=on ssl_cert_file={self._folder / self._tls.crt.name}"
            options += f" ssl_key_file={self._folder / self._tls.key.name}"
        command = [PROGRAMS / "postgres", "-D", "data", *(f"--{option}" for option in options.split())]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as
            )
        wait_until(self._answers, "the database server's first answer")

    def stop(self) -> None:
        """Cut every connection and stop; nothing committed is lost. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        """From now on, accept connections and requests and answer none."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        import psutil

        assert self._process is not None
        server = psutil.Process(self._process.pid)
        for process in (server, *server.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
        assert PROGRAMS is not None
        command = [PROGRAMS / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *words: str) -> None:
        assert PROGRAMS is not None
        done = subprocess.run(
            [PROGRAMS / program, *words],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            **self._as,
        )
        assert done.returncode == 0, done.stdout + done.stderr
