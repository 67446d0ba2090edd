"""A server that records its SQL statements, to count what a request or a job costs."""

from __future__ import annotations

import os
from pathlib import Path

from harness.config import Config
from harness.server import RunningServer

SQL_LOG = Path(__file__).parent / "sql_log"


class Mark:
    """What the server has written since the mark was set."""

    def __init__(self, server: CountedServer) -> None:
        self._server = server
        self._statements = len(server.statements())
        self._lines = len(server.log_lines())

    @property
    def statements(self) -> list[str]:
        """SQL statements. One with a trigger is listed again for each statement of the trigger."""
        return self._server.statements()[self._statements :]

    @property
    def commits(self) -> int:
        return self.statements.count("COMMIT")

    @property
    def log_messages(self) -> list[str]:
        return [line["msg"] for line in self._server.log_lines()[self._lines :]]


class CountedServer(RunningServer):
    """With a SQLite file in ``folder``."""

    def __init__(self, folder: Path, config: Config) -> None:
        self._sql_log = folder / "sql.log"
        paths = os.pathsep.join(filter(None, (str(SQL_LOG), os.environ.get("PYTHONPATH"))))
        env = {"PYTHONPATH": paths, "EVALHUB_TEST_SQL_LOG": str(self._sql_log)}
        super().__init__(config.folder, data_dir=folder / "data", env=env)

    def mark(self) -> Mark:
        return Mark(self)

    def statements(self) -> list[str]:
        """All SQL statements so far."""
        return self._sql_log.read_text().split("\n")[:-1]
