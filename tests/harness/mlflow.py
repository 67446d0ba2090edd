"""A real MLflow server, in an environment of its own, over an SQLite file."""

from __future__ import annotations

import json
import os
import signal
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from harness.running import RunningProcess
from harness.waiting import free_port

VERSION = "3.17.2"
REQUIREMENT = f"mlflow=={VERSION}"
START_S = 120.0


class MlflowServer(RunningProcess):
    """A context manager. Port and data stay the same over :meth:`kill` and :meth:`start`."""

    def __init__(self, environment: Path, folder: Path, *flags: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "log.txt")
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [
            str(environment / "bin" / "mlflow"),
            "server",
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
            *("--artifacts-destination", str(folder / "artifacts")),
            *flags,
        ]
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")},
            "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight processes for what no test uses
        }

    def start(self) -> None:
        # A group of its own, since MLflow is several processes.
        self.launch(
            self._command,
            lambda: self.request("GET", "/health") == "OK",
            "MLflow",
            START_S,
            env=self._env,
            cwd=self.folder,
            start_new_session=True,
        )

    def kill(self) -> None:
        """Kill all of its processes, to simulate a crash; does nothing if it does not run."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None

    def request(self, method: str, path: str, body: Any = None, workspace: str = "") -> Any:
        """The response as JSON, or as text if it is not JSON."""
        headers = {"Content-Type": "application/json"} | (
            {"X-MLFLOW-WORKSPACE": workspace} if workspace else {}
        )
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=60) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers.get("Content-Type", "") else text

    def experiment(self, name: str, workspace: str = "") -> dict[str, Any]:
        query = urllib.parse.urlencode({"experiment_name": name})
        path = f"/api/2.0/mlflow/experiments/get-by-name?{query}"
        return self.request("GET", path, workspace=workspace)["experiment"]

    def experiments(self) -> list[str]:
        found = self.request("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1000})
        return sorted(experiment["name"] for experiment in found["experiments"])

    def runs(self, experiment_id: str, workspace: str = "") -> list[dict[str, Any]]:
        """Every run that is not deleted, in the order of their starts."""
        body = {
            "experiment_ids": [experiment_id],
            "max_results": 1000,
            "order_by": ["attributes.start_time ASC"],
        }
        return self.request("POST", "/api/2.0/mlflow/runs/search", body, workspace).get("runs", [])

    def artifact(self, run_id: str, path: str, workspace: str = "") -> Any:
        query = urllib.parse.urlencode({"run_uuid": run_id, "path": path})
        text = self.request("GET", f"/get-artifact?{query}", workspace=workspace)
        return json.loads(text) if isinstance(text, str) else text


def pairs(items: list[dict[str, Any]]) -> dict[str, Any]:
    """MLflow's lists of keys and values as a dict."""
    return {item["key"]: item["value"] for item in items}
