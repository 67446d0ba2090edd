"""A real ``eval-hub-server`` process on a free loopback port."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.waiting import wait_until

API = "/api/v1/evaluations"
TERMINAL = {"completed", "failed", "cancelled", "partially_failed"}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any
    """Decoded JSON where the answer says JSON, text otherwise."""


class RunningServer:
    """A context manager. ``port`` stays the same over :meth:`restart`, as it does for adapters that live on."""

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
    ) -> None:
        flags = ("--local", "--configdir", str(configdir)) if flags is None else flags
        self._command = [python, "-m", "evalhub_server", *flags]
        if data_dir is not None:
            self._command += ["--data-dir", str(data_dir)]
        self._env = {**{k: v for k, v in os.environ.items() if k not in ("PORT", "API_HOST")}, **(env or {})}
        self.configdir = configdir
        self._log = configdir / "server.log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = port
        self.headers: dict[str, str] = {}
        """Sent with every call."""
        self._stderr = stderr

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.terminate()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        env = {**self._env, "PORT": str(self.port)} if self.port else self._env
        already = len(self.log_lines())
        with self._log.open("ab") as log:
            stderr = log if self._stderr is None else self._stderr
            self.process = subprocess.Popen(
                self._command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=stderr
            )
        try:
            if self._stderr is None:
                self.port = wait_until(lambda: self._started(already), "the server's start")["server_port"]
            else:
                wait_until(self._answers, "the server's first answer")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _answers(self) -> bool:
        try:
            return self.call("GET", "/api/v1/health").status == 200
        except OSError:
            return False

    def _started(self, already: int) -> dict[str, Any] | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}: {self.log_text()}")
        lines = self.log_lines()[already:]
        return next((line for line in lines if line["msg"] == "API Server starting"), None)

    def terminate(self, timeout_s: float = 15.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def log_text(self) -> str:
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        lines = self.log_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, data, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        is_json = text and "json" in fields.get("content-type", "")
        return Answer(answer.status, fields, json.loads(text) if is_json else text.decode())

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def submit(self, *benchmarks: str, provider: str = "scripted", **fields: Any) -> str:
        """Submit a job over benchmarks of one provider; returns its id."""
        body: dict[str, Any] = {
            "name": "a job",
            "model": {"url": "http://model.test/v1", "name": "m"},
            "benchmarks": [{"id": b, "provider_id": provider} for b in benchmarks or ["b"]],
            **fields,
        }
        answer = self.call("POST", f"{API}/jobs", body)
        assert answer.status == 202, answer
        return answer.body["resource"]["id"]

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
        """The job once it is terminal."""
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
