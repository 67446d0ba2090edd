"""moto's server: a simulation of S3 in a process of its own, on a free loopback port."""

from __future__ import annotations

import importlib.util
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harness.running import RunningProcess
from harness.waiting import free_port

BUCKET = "samples"
KEYS = {"access_key_id": "test-key-id", "secret_access_key": "test-secret-key"}

needs_moto = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("moto", "flask", "obstore")),
    reason="needs moto's server and obstore (pip install -e '.[dev]')",
)


class MotoServer(RunningProcess):
    """A context manager. It has one bucket; what is in it is lost when the process ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "moto.log")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-c", "from moto.server import main; main()", "-p", str(self.port)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        self.launch(command, self._answers, "moto", 60.0, env=env)
        self.call("PUT", f"/{BUCKET}")

    def call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        # Without the form of an authorization, moto takes a request for one of a web site.
        head = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request",
            "Content-Type": "text/plain",
        }
        request = urllib.request.Request(f"{self.url}{path}", body, head, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.read()

    def settings(self, prefix: str = "", **samples: Any) -> dict[str, Any]:
        """The section ``samples`` for this server."""
        return {"url": f"s3://{BUCKET}/{prefix}", "s3": {"endpoint": self.url, **KEYS}, **samples}

    def refuse_unknown_keys(self, *, refuse: bool) -> None:
        """Whether requests with credentials that moto has not issued are refused."""
        self.call("POST", "/moto-api/reset-auth", b"0" if refuse else b"inf")

    def _answers(self) -> bool:
        return bool(self.call("GET", "/moto-api/data.json"))
