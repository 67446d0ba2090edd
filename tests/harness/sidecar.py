"""A real ``eval-runtime-sidecar`` process on a free loopback port."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.answering import Request
from harness.fork_server import Forked, can_fork, fork
from harness.running import Answer, RunningProcess, call
from harness.waiting import free_port

PROGRAM = (sys.executable, "-m", "evalhub_sidecar")
ABOUT_THIS_HOST = ("PORT", "API_HOST", "KUBERNETES_SERVICE_HOST")


class RunningSidecar(RunningProcess):
    """A context manager. ``config`` is the document of its configuration file; ``base_url`` is added to it."""

    def __init__(self, folder: Path, config: Mapping[str, Any], env: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "sidecar.log.txt")
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self._file = folder / "sidecar_config.json"
        self._file.write_text(json.dumps({"base_url": self.url, **config}), "utf-8")
        inherited = {k: v for k, v in os.environ.items() if k not in ABOUT_THIS_HOST}
        self._env = {**inherited, "EVALHUB_DATA_DIR": "", **(env or {})}

    def _process(self, command: list[str], **options: Any) -> subprocess.Popen[bytes] | Forked:
        if not can_fork(options["env"]):
            return super()._process(command, **options)
        log = options["stdout"].fileno()
        return fork(command[len(PROGRAM) :], options["env"], log, log, "evalhub_sidecar")

    def start(self) -> None:
        command = [*PROGRAM, "-sidecarconfig", str(self._file)]
        self.launch(command, self._healthy, "the sidecar", env=self._env)

    def leave(self) -> None:
        """SIGTERM, so that coverage keeps its data; SIGKILL if the sidecar still has events to deliver."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
        super().leave()

    def terminate(self, timeout_s: float = 40.0) -> int:
        return super().terminate(timeout_s)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """``body`` is sent as it is if it is bytes, else as JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = call(self.port, method, path, data, headers)
        text = answer.body.decode("utf-8", "replace") if isinstance(answer.body, bytes) else answer.body
        return answer._replace(body=text)

    def _healthy(self) -> bool:
        return self.call("GET", "/health").status == 200


def events_in(requests: Iterable[Request]) -> list[dict[str, Any]]:
    """The benchmark events among the requests to a server."""
    return [each.document["benchmark_status_event"] for each in requests if each.path.endswith("/events")]


class Pod:
    """The files of a pod, in one folder, and the sidecar that finds them there."""

    job_id = "5a7e1f0e-0000-4000-8000-000000000001"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = folder / "secret"
        self.spool = folder / "data" / "events"
        self.grace = ""
        """The termination grace period of the pod, if not the default."""
        for made in (self.secret, self.spool.parent):
            made.mkdir(parents=True)
        self.token("pod-token")
        self.job()

    @property
    def events(self) -> str:
        """The adapter's callback URL."""
        return f"/api/v1/evaluations/jobs/{self.job_id}/events"

    def job(self, **fields: Any) -> None:
        (self.folder / "job.json").write_text(json.dumps({"id": self.job_id, **fields}), "utf-8")

    def token(self, text: str) -> None:
        """Replace the service account's token."""
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
            "TERMINATION_GRACE": self.grace,
        }
        return RunningSidecar(self.folder / "sidecar", {"eval_hub": {"base_url": server}, **config}, env)
