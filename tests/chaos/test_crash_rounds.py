"""Rounds of kill -9 under load: nothing that the server has acknowledged is lost.

``CRASH_ROUNDS=500`` runs more rounds than the suite does.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.server import API

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
CLIENTS = 3
MOST_WRITES = 300
"""The crash comes after a random number of acknowledged writes up to this one."""

pytestmark = pytest.mark.slow


class Acknowledged(NamedTuple):
    """What the server answered with success in one round; the results are by job, each with its metric."""

    created: set[str]
    results: dict[str, float]
    cancelled: set[str]
    deleted: set[str]

    @property
    def count(self) -> int:
        return sum(map(len, self))


class Client(threading.Thread):
    """Creates jobs, reports results, cancels and deletes until the server is killed; ``acknowledged`` has the successes."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__()
        self.acknowledged = Acknowledged(set(), {}, set(), set())
        self.unexpected: list[str] = []
        self._server = server

    def run(self) -> None:
        try:
            while True:
                self._work()
        except (OSError, http.client.HTTPException):
            return  # the server was killed

    def _work(self) -> None:
        known = self.acknowledged
        created = self._server.call("POST", f"{API}/jobs", self._body())
        if self._failed(created.status, 202):
            return
        job_id = created.body["resource"]["id"]
        known.created.add(job_id)
        match secrets.randbelow(4):
            case 0 | 1:
                metric = float(secrets.randbelow(10**6))
                reported = self._server.report(job_id, "completed", metrics={"acc": metric})
                if not self._failed(reported.status, 204):
                    known.results[job_id] = metric
            case 2:
                if not self._failed(self._server.call("DELETE", f"{API}/jobs/{job_id}").status, 204):
                    known.cancelled.add(job_id)
            case _:
                known.created.discard(job_id)  # from here on it may be there or not
                path = f"{API}/jobs/{job_id}?hard_delete=true"
                if not self._failed(self._server.call("DELETE", path).status, 204):
                    known.deleted.add(job_id)

    def _body(self) -> dict[str, object]:
        return {
            "name": "crash",
            "model": {"url": "http://model.test/v1", "name": "m"},
            "benchmarks": [{"id": "b", "provider_id": "scripted"}],
        }

    def _failed(self, status: int, expected: int) -> bool:
        if status == expected:
            return False
        self.unexpected.append(f"{status} instead of {expected}")
        return True


def lost(server: RunningServer, known: Acknowledged) -> list[str]:
    """Compare the server's jobs with what it had acknowledged."""
    found: list[str] = []
    for job_id in known.created | known.results.keys() | known.cancelled | known.deleted:
        answer = server.call("GET", f"{API}/jobs/{job_id}")
        if job_id in known.deleted:
            found += [f"deleted job {job_id} is back"] if answer.status != 404 else []
            continue
        if answer.status != 200:
            found.append(f"created job {job_id}: {answer.status}")
            continue
        if job_id in known.results:
            (result,) = answer.body["results"].get("benchmarks") or [{}]
            if result.get("metrics") != {"acc": known.results[job_id]}:
                found.append(f"result of {job_id}: {result}")
        if job_id in known.cancelled:
            if answer.body["status"]["state"] != "cancelled":
                found.append(f"cancelled job {job_id} is {answer.body['status']['state']}")
            if processes_with(job_id):
                found.append(f"cancelled job {job_id} has processes")
    return found


def test_no_acknowledged_write_is_lost_by_kill_9_under_load(tmp_path: Path):
    config = Config(
        tmp_path / "config",
        supervisor={"exit_grace": "200ms", "stop_grace": "500ms", "linger": "200ms"},
        local={"max_parallel": 2, "jobs_dir": str(tmp_path / "jobs")},
    )
    config.provider("exec sleep 600")
    acknowledged, problems = 0, list[str]()
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        for number in range(ROUNDS):
            clients = [Client(server) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            moment = 1 + secrets.randbelow(MOST_WRITES)
            wait_until(lambda: written(clients) >= moment or not any(map(Client.is_alive, clients)), "writes")  # noqa: B023
            server.kill()
            for client in clients:
                client.join(60)
            server.start()
            for client in clients:
                acknowledged += client.acknowledged.count
                problems += [f"round {number}: {text}" for text in lost(server, client.acknowledged)]
                problems += [f"round {number}: unexpected answer {text}" for text in client.unexpected]
            print(
                f"round {number + 1}: {acknowledged} acknowledged writes, {len(problems)} problems",
                flush=True,
            )
            remove_all(server)
        assert acknowledged > 0
        assert not problems, problems
        server.terminate()
    for pid in processes_with(str(tmp_path / "jobs")):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(str(tmp_path / "jobs")), "the end of the adapters left")


def written(clients: list[Client]) -> int:
    return sum(client.acknowledged.count for client in clients)


def remove_all(server: RunningServer) -> None:
    """Hard-delete every job, so that the next round starts with an empty server and nothing runs."""
    while items := server.get(f"{API}/jobs?limit=500")["items"]:
        for item in items:
            path = f"{API}/jobs/{item['resource']['id']}?hard_delete=true"
            assert server.call("DELETE", path).status == 204
