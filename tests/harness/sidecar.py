"""A real ``eval-runtime-sidecar`` process on a free loopback port."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.server import Answer
from harness.waiting import free_port, wait_until

PROGRAM = (sys.executable, "-m", "evalhub_sidecar")
ABOUT_THIS_HOST = ("PORT", "API_HOST", "KUBERNETES_SERVICE_HOST")


class RunningSidecar:
    """A context manager. ``config`` is the document of its configuration file; ``base_url`` is added to it."""

    def __init__(self, folder: Path, config: Mapping[str, Any], env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._file = folder / "sidecar_config.json"
        self._file.write_text(json.dumps({"base_url": self.url, **config}), "utf-8")
        self._log = folder / "sidecar.log.txt"
        inherited = {k: v for k, v in os.environ.items() if k not in ABOUT_THIS_HOST}
        self._env = {**inherited, "EVALHUB_DATA_DIR": "", **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def start(self) -> None:
        with self._log.open("ab") as log:
            command = [*PROGRAM, "-sidecarconfig", str(self._file)]
            self.process = subprocess.Popen(
                command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self._healthy, "the sidecar's health")

    def terminate(self, timeout_s: float = 40.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def log_text(self) -> str:
        return self._log.read_text("utf-8")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``body`` is sent as it is if it is bytes, else as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, path, data, dict(headers or {}))
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        is_json = text and "json" in fields.get("content-type", "")
        return Answer(answer.status, fields, json.loads(text) if is_json else text.decode("utf-8", "replace"))

    def _healthy(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the sidecar ended with {self.process.returncode}: {self.log_text()}")
        try:
            return self.call("GET", "/health").status == 200
        except OSError:
            return False


class Pod:
    """The files of a pod, in one folder, and the sidecar that finds them there."""

    job_id = "5a7e1f0e-0000-4000-8000-000000000001"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder / "secret"
        self.spool = folder / "data" / "events"
        for made in (self.secret, self.spool.parent):
            made.mkdir(parents=True)
        self.token("pod-token")
        self.job()

    @property
    def events(self) -> str:
        """Where the adapter posts."""
        return f"/api/v1/evaluations/jobs/{self.job_id}/events"

    def job(self, **fields: Any) -> None:
        (self.folder / "job.json").write_text(json.dumps({"id": self.job_id, **fields}), "utf-8")

    def token(self, text: str) -> None:
        """What the service account's token is from now on."""
        (self.folder / "token").write_text(text, "utf-8")

    def credentials(self, **files: str) -> None:
        """Files of the model's secret."""
        for name, text in files.items():
            (self.secret / name).write_text(text, "utf-8")

    def sidecar(self, server: str, **config: Any) -> RunningSidecar:
        env = {
            "JOB_SPEC_PATH": str(self.folder / "job.json"),
            "OCI_AUTH_CONFIG_PATH": str(self.folder / "docker.json"),
            "SERVICE_TOKEN_PATH": str(self.folder / "token"),
            "INIT_METADATA_PATH": str(self.folder / "revision"),
            "EVENT_SPOOL_DIR": str(self.spool),
            "TERMINATION_MESSAGE_PATH": str(self.folder / "message"),
        }
        return RunningSidecar(self.folder / "sidecar", {"eval_hub": {"base_url": server}, **config}, env)
