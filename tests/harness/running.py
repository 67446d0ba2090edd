"""Processes started by tests: start, stop, log file, and plain HTTP requests."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from harness.fork_server import Forked
from harness.waiting import wait_until

T = TypeVar("T")


class Answer(NamedTuple):
    """Names of ``headers`` are in lower case; ``body`` is decoded JSON if the content type is JSON, else bytes."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code of an error response."""
        return self.status, self.body["message_code"]


def call(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> Answer:
    """One request to a loopback port with the standard library; over TLS if there is a ``trust``."""
    connection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=trust)
        if trust
        else http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    )
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    is_json = content and fields.get("content-type", "").partition(";")[0].endswith(("/json", "+json"))
    return Answer(answer.status, fields, json.loads(content) if is_json else content)


class Started:
    """A context manager over ``start`` and ``leave``."""

    def start(self) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """Called when the context is left."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class RunningProcess(Started):
    """One process at a time. Its output is appended to the file ``log``."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.process: subprocess.Popen[bytes] | Forked | None = None

    def launch(
        self,
        command: Sequence[str],
        ready: Callable[[], T],
        name: str,
        timeout_s: float = 90.0,
        **options: Any,
    ) -> T:
        """Start ``command`` and wait for ``ready``, whose refused connections count as not yet. Leaves nothing running
        that is not."""

        def looked() -> T | None:
            assert self.process is not None
            if self.process.poll() is not None:
                raise AssertionError(f"{name} ended with {self.process.returncode}: {self.log_text()}")
            try:
                return ready()
            except OSError:
                return None

        with self._log.open("ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            self.process = self._process(list(command), **{**streams, **options})
        try:
            found = wait_until(looked, f"{name}'s start", timeout_s)
            assert found is not None
        except BaseException:
            self.kill()
            raise
        return found

    def _process(self, command: list[str], **options: Any) -> subprocess.Popen[bytes] | Forked:
        return subprocess.Popen(command, **options)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, to simulate a crash; does nothing if it does not run."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def leave(self) -> None:
        self.kill()

    def terminate(self, timeout_s: float = 25.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout_s)

    def log_text(self) -> str:
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        """The whole lines of JSON."""
        lines = self.log_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
