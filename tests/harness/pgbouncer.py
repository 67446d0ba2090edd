"""A real PgBouncer in front of a PostgreSQL server of the tests: Debian's, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from harness.postgres import PASSWORD, RunningPostgres, unprivileged
from harness.waiting import free_port, wait_until

PROGRAM = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="needs pgbouncer (on Debian: apt-get install pgbouncer)"
)

_CONFIGURATION = """
[databases]
postgres = host=127.0.0.1 port={server_port} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""


class RunningPgBouncer:
    """A context manager. ``mode`` is ``session`` or ``transaction``; ``user`` is a role of the server, with its password."""

    def __init__(self, postgres: RunningPostgres, user: str, mode: str) -> None:
        self.port = free_port()
        self._text = _CONFIGURATION.format(
            server_port=postgres.port, user=user, password=PASSWORD, port=self.port, mode=mode
        )
        self._folder = Path(tempfile.mkdtemp(prefix="evalhub-pgbouncer-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgres://any@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def __enter__(self) -> Self:
        assert PROGRAM is not None
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(self._text)
        configuration.chmod(0o644)
        self._folder.chmod(0o755)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, configuration], stdin=subprocess.DEVNULL, stdout=log, stderr=log, **unprivileged()
            )
        wait_until(self._answers, "PgBouncer's first answer")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text("utf-8")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False
