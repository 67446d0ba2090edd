"""Several real servers over one PostgreSQL database and one fake cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.config import Config
from harness.kube import TENANT, FakeCluster
from harness.postgres import RunningPostgres
from harness.running import Answer
from harness.server import API, TERMINAL, RunningServer
from harness.waiting import free_port, wait_until

QUICK: dict[str, Any] = {"poll_interval": "100ms", "exit_grace": "100ms"}
TAKEOVER_S = 60.0
"""Limit of waits for a new leader: some seconds on an idle machine."""


class Replicas:
    """A context manager. ``servers`` are created, and started by :meth:`start`; each has a config folder of its own."""

    def __init__(
        self,
        folder: Path,
        postgres: RunningPostgres,
        cluster: FakeCluster,
        size: int = 3,
        *,
        ports: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        started: int | None = None,
        **sections: dict[str, Any],
    ) -> None:
        """``ports`` are those at which the servers find the database, by default its own.

        ``env`` is added to their environment. Entering starts the first ``started``, by default all.
        """
        self._started = size if started is None else started
        self.schema = asyncio.run(postgres.new_schema())
        self.cluster = cluster
        self.postgres = postgres
        self._stack = ExitStack()
        self.servers: list[RunningServer] = []
        for number in range(size):
            url = postgres.url(self.schema)
            if number < len(ports) and ports[number]:
                url = url.replace(f":{postgres.port}/", f":{ports[number]}/")
            config = Config(
                folder / f"server-{number}",
                kubernetes=QUICK,
                supervisor={"stop_grace": "2s"},
                database={"driver": "pgx", "url": url},
                **sections,
            )
            config.image("script.test/stops", "a", "b", "c")
            config.image("script.test/exits:0", "a", provider_id="prints", env={"TEXT": "hello\n"})
            server = RunningServer(
                config.folder,
                flags=("--configdir", str(config.folder)),
                env={"KUBECONFIG": str(cluster.kubeconfig(config.folder)), **(env or {})},
                port=free_port(),
            )
            server.headers = {"X-Tenant": TENANT, "X-User": "alice"}
            self.servers.append(server)

    def start(self) -> None:
        """Start servers at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.add, self.servers[: self._started]))

    def add(self, server: RunningServer) -> RunningServer:
        """Start one more of the servers."""
        return self._stack.enter_context(server)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def running(self) -> list[RunningServer]:
        return [each for each in self.servers if each.process is not None and each.process.poll() is None]

    def role(self, server: RunningServer) -> str:
        return server.get("/api/v1/health")["role"]

    def leader(self, *without: RunningServer) -> RunningServer:
        """Wait until exactly one server leads, other than ``without``; returns it."""

        def only() -> RunningServer | None:
            leaders = [each for each in self.running if each not in without and self.role(each) == "leader"]
            return leaders[0] if len(leaders) == 1 else None

        leader = wait_until(only, "a leader", TAKEOVER_S)
        assert leader is not None
        return leader

    def followers(self) -> list[RunningServer]:
        leader = self.leader()
        return [each for each in self.running if each is not leader]


def eventually(server: RunningServer, method: str, path: str, body: Any = None) -> Answer:
    """Repeat a request until the server accepts it, as a client does that gets 503."""

    def accepted() -> Answer | None:
        answer = server.call(method, path, body)
        return answer if answer.status < 500 else None

    answer = wait_until(accepted, f"{method} {path}", TAKEOVER_S)
    assert answer is not None
    return answer


def state_of(server: RunningServer, job_id: str) -> str:
    return server.job(job_id)["status"]["state"]


def ended(server: RunningServer, job_id: str) -> bool:
    return state_of(server, job_id) in TERMINAL


JOBS = f"{API}/jobs"
