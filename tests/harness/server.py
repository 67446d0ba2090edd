"""A real ``eval-hub-server`` process on a free loopback port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from harness.fork_server import Forked, can_fork, fork
from harness.running import Answer, RunningProcess, call
from harness.waiting import free_port, wait_until

API = "/api/v1/evaluations"
TERMINAL = {"completed", "failed", "cancelled", "partially_failed"}


def job_request(*benchmarks: str, provider: str = "scripted", **fields: Any) -> dict[str, Any]:
    """The body of a create: a job over benchmarks of one provider."""
    return {
        "name": "a job",
        "model": {"url": "http://model.test/v1", "name": "m"},
        "benchmarks": [{"id": each, "provider_id": provider} for each in benchmarks or ["b"]],
        **fields,
    }


class RunningServer(RunningProcess):
    """A context manager. ``port`` is kept for the next :meth:`start`, because adapters outlive the server."""

    def __init__(
        self,
        configdir: Path,
        *,
        data_dir: Path | None = None,
        flags: tuple[str, ...] | None = None,
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
        stderr: int | None = None,
        port: int = 0,
        prefix: tuple[str, ...] = (),
        pass_fds: tuple[int, ...] = (),
        new_interpreter: bool = False,
    ) -> None:
        """``prefix`` is a command that runs the server, such as one that enters a namespace. It inherits ``pass_fds``.

        Unless there is such an option or ``new_interpreter``, the server is a fork (see :mod:`.fork_server`).
        """
        super().__init__(configdir / "server.log.txt")
        flags = ("--local", "--configdir", str(configdir)) if flags is None else flags
        self._command = [*prefix, python, "-m", "evalhub_server", *flags]
        if data_dir is not None:
            self._command += ["--data-dir", str(data_dir)]
        self._env = {**{k: v for k, v in os.environ.items() if k not in ("PORT", "API_HOST")}, **(env or {})}
        self.configdir = configdir
        # One that is started again must find its port free.
        self.port = port or (free_port() if data_dir is not None else 0)
        self.headers: dict[str, str] = {}
        """Sent with every call."""
        self._stderr = stderr
        self._pass_fds = pass_fds
        self._new_interpreter = bool(new_interpreter or prefix or pass_fds or python != sys.executable)

    def _process(self, command: list[str], **options: Any) -> subprocess.Popen[bytes] | Forked:
        if self._new_interpreter or not can_fork(options["env"]):
            return super()._process(command, **options)
        files = (options[name] for name in ("stdout", "stderr"))
        return fork(command[3:], options["env"], *(f if isinstance(f, int) else f.fileno() for f in files))

    def leave(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.terminate()

    def start(self) -> None:
        env = {**self._env, "PORT": str(self.port)} if self.port else self._env
        already = len(self.log_lines())
        if self._stderr is not None:
            self.launch(self._command, self._answers, "the server", env=env, stderr=self._stderr)
            return
        started = self.launch(
            self._command, lambda: self._started(already), "the server", env=env, pass_fds=self._pass_fds
        )
        self.port = started["server_port"]

    def _answers(self) -> bool:
        return self.call("GET", "/api/v1/health").status == 200

    def _started(self, already: int) -> dict[str, Any]:
        lines = self.log_lines()[already:]
        return next((line for line in lines if line["msg"] == "API Server starting"), {})

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``body`` is sent as it is if it is bytes, else as JSON. That of the answer is decoded JSON or text."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = call(self.port, method, path, data, {**self.headers, **(headers or {})})
        return answer._replace(body=answer.body.decode()) if isinstance(answer.body, bytes) else answer

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def submit(self, *benchmarks: str, provider: str = "scripted", **fields: Any) -> str:
        """Submit a job over benchmarks of one provider; returns its id."""
        answer = self.call("POST", f"{API}/jobs", job_request(*benchmarks, provider=provider, **fields))
        assert answer.status == 202, answer
        return answer.body["resource"]["id"]

    @property
    def connections(self) -> int:
        """The number of open connections of clients."""
        found = psutil.Process(self.pid).net_connections("tcp")
        return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == self.port for c in found)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.get(f"{API}/jobs/{job_id}")

    def logs(self, job_id: str, query: str = "") -> str:
        return self.get(f"{API}/jobs/{job_id}/logs{query}")

    def report(
        self, job_id: str, status: str, *, index: int = 0, benchmark: str = "b", **fields: Any
    ) -> Answer:
        event = {
            "provider_id": "scripted",
            "id": benchmark,
            "benchmark_index": index,
            "status": status,
            **fields,
        }
        return self.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})

    def finished(self, job_id: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the job is terminal; returns it."""
        return wait_until(
            lambda: (job := self.job(job_id))["status"]["state"] in TERMINAL and job,
            f"job {job_id}",
            timeout_s,
        )

    def in_state(self, job_id: str, state: str, timeout_s: float = 30.0) -> dict[str, Any]:
        return wait_until(
            lambda: (job := self.job(job_id))["status"]["state"] == state and job,
            f"{job_id} {state}",
            timeout_s,
        )
